"""Seals: authenticate what is kept outside the database, with the installation's secret.

Guarantees that only a process that has one of the secrets can make a mark that counts as
genuine, and that a mark for one purpose, or of one installation, is worth nothing for another.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from settings import Settings

MARK_LENGTH: Final = hashlib.sha256().digest_size * 2


class Seal:
    """Marks contents and recognises its marks. Safe to use from many threads."""

    def __init__(self, secrets: Sequence[str], *, installation_id: str, purpose: str) -> None:
        """secrets: the first one marks, all are accepted, so that secrets can be replaced."""
        self.installation_id = installation_id
        label = f"truepenny {purpose}\0{installation_id}\0".encode()
        self._signers = [hmac.new(secret.encode(), label, hashlib.sha256) for secret in secrets]

    def mark(self, content: bytes) -> str:
        """Return the mark of a content: MARK_LENGTH hexadecimal digits."""
        return _digest(self._signers[0], content)

    def is_genuine(self, content: bytes, mark: str, *, length: int = MARK_LENGTH) -> bool:
        """Return whether one of the secrets made this mark for this content and purpose.

        length: of how many digits the mark is, if only the beginning was kept.
        """
        given = mark.encode(errors="replace")
        matches = [
            hmac.compare_digest(_digest(signer, content)[:length].encode(), given)
            for signer in self._signers
        ]
        return any(matches)


def seal_of(settings: Settings, *, purpose: str) -> Seal:
    """Return the seal of this installation for one purpose."""
    return Seal(settings.intake_secrets, installation_id=settings.installation_id, purpose=purpose)


def _digest(signer: hmac.HMAC, content: bytes) -> str:
    copied = signer.copy()
    copied.update(content)
    return copied.hexdigest()
