"""Tests of `make up`: it starts, restarts what is killed, and stops."""
