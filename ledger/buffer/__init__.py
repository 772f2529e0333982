"""Intake buffer: entries kept on the broker during an outage, and their replay."""
