"""What stops the stack, as one clear line for the person at the terminal."""

from __future__ import annotations


class StackError(RuntimeError):
    """The stack cannot start or go on; the message says why and what to do."""
