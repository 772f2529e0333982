"""The storm: seeded clients and a seeded nemesis against real processes, recorded for a judge."""
