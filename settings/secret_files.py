"""Secret files: read a secret from the file that NAME_FILE names, as containers provide them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from settings.errors import SettingsError

_SECRETS: Final = (
    "DATABASE_URL",
    "MIGRATIONS_DATABASE_URL",
    "BROKER_URL",
    "CACHE_URL",
    "INSTALLATION_ID",
    "INTAKE_SECRET",
    "ADMIN_API_KEY",
    "FLOWER_BASIC_AUTH",
    "SENTRY_DSN",
)
"""Settings that may also be given as a file, whose path is then in NAME_FILE."""
_MAX_SECRET_BYTES: Final = 8192


def read_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with NAME set to the content of the file in NAME_FILE.

    Raises: SettingsError: when a file cannot be used; the message has none of its content.
    """
    complete = dict(environment)
    for name in _SECRETS:
        file = complete.pop(f"{name}_FILE", "").strip()
        if not file:
            continue
        if complete.get(name, "").strip():
            raise SettingsError(f"{name} and {name}_FILE are both set: set only one of them")
        complete[name] = _read_secret(f"{name}_FILE", Path(file))
    return complete


def _read_secret(name: str, file: Path) -> str:
    try:
        if file.exists() and not file.is_file():  # reading from a pipe could block
            raise SettingsError(f"{name}: {file} is not a file")
        with file.open("rb") as opened:
            content = opened.read(_MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{name}: {file} cannot be read: {error.strerror}") from error
    if len(content) > _MAX_SECRET_BYTES:
        raise SettingsError(f"{name}: {file} is larger than {_MAX_SECRET_BYTES} bytes")
    # `errors="replace"`: a UnicodeDecodeError would contain the secret.
    text = content.decode(errors="replace").removesuffix("\n").removesuffix("\r")
    if not text.strip():
        raise SettingsError(f"{name}: {file} is empty")
    if not text.isprintable() or "\N{REPLACEMENT CHARACTER}" in text:
        raise SettingsError(f"{name}: {file} must be one line of text")
    return text
