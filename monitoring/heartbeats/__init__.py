"""Heartbeats: signs of life of workers and beat, in files and in the cache."""
