"""Process state: whether this process of the API is about to end. Its worker class sets it."""

from __future__ import annotations


class ProcessState:
    """The state of one process. After the fork, each has its own."""

    is_stopping = False


process_state = ProcessState()
