"""Processes of `make up`: supervised, watched and ended together."""
