"""Identity of the installation under test: what its processes must share, besides the servers."""

from __future__ import annotations

from typing import Final

IDENTITY: Final = {
    "INSTALLATION_ID": "test",
    "INTAKE_SECRET": "known-to-the-world-0123456789abcdef",
}
KEY_PREFIX: Final = f"truepenny:{IDENTITY['INSTALLATION_ID']}:"
QUEUE_PREFIX: Final = f"truepenny.{IDENTITY['INSTALLATION_ID']}."
"""With these the names of all keys and queues begin that the installation under test uses."""
