"""Fakes of outside services, over real HTTP on loopback."""
