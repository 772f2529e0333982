"""Errors of settings."""

from __future__ import annotations


class SettingsError(ValueError):
    """A setting is missing or cannot be used; the message names it."""
