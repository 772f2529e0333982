"""Tests of the parts of `make up`: servers, launcher, watchdog, secrets."""
