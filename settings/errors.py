"""Error of a setting that is missing or unusable."""

from __future__ import annotations


class SettingsError(ValueError):
    """A setting is missing or cannot be used; the message names it."""
