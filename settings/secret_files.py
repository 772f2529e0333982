"""Secret files: the content of NAME_FILE in the place of NAME, as containers do it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from settings.errors import SettingsError

_SECRETS: Final = (
    "DATABASE_URL",
    "BROKER_URL",
    "CACHE_URL",
    "ADMIN_API_KEY",
    "FLOWER_BASIC_AUTH",
    "SENTRY_DSN",
)
"""What may also be given as a file: its name then is in NAME_FILE, as containers do it."""
_MAX_SECRET_BYTES: Final = 8192


def read_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with the content of each NAME_FILE in the place of that.

    Raises: SettingsError: when a file cannot be used; nothing of its content is in the message.
    """
    complete = dict(environment)
    for name in _SECRETS:
        file = complete.pop(f"{name}_FILE", "").strip()
        if not file:
            continue
        if complete.get(name, "").strip():
            raise SettingsError(f"{name} and {name}_FILE are both set: give one of them")
        complete[name] = _read_secret(f"{name}_FILE", Path(file))
    return complete


def _read_secret(name: str, file: Path) -> str:
    try:
        if file.exists() and not file.is_file():  # a pipe would be waited for, maybe for ever
            raise SettingsError(f"{name}: {file} is no file")
        with file.open("rb") as opened:
            content = opened.read(_MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{name}: {file} cannot be read: {error.strerror}") from error
    if len(content) > _MAX_SECRET_BYTES:
        raise SettingsError(f"{name}: {file} is larger than {_MAX_SECRET_BYTES} bytes")
    # Of one that is no text, not even the error's cause is kept: it has the content in it.
    text = content.decode(errors="replace").removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise SettingsError(f"{name}: {file} is empty")
    if not text.isprintable() or "\N{REPLACEMENT CHARACTER}" in text:
        raise SettingsError(f"{name}: {file} must be one line of text")
    return text
