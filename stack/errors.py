"""The error that stops the stack, shown as one line on the terminal."""

from __future__ import annotations


class StackError(RuntimeError):
    """The stack cannot start or go on; the message says why and what to do."""
