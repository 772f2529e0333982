"""Calls that may hang, each in a thread of its own, so that who asked can stop waiting."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def take_off(call: Callable[[], T], *, name: str) -> Future[T]:
    """Start the call. Its future has the result, or what it raised.

    A daemon: what hangs in a driver must not keep the process from ending. The caller sees
    to it that no more calls are under way than it wants threads.
    """
    future: Future[T] = Future()

    def fly() -> None:
        try:
            result = call()
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=fly, name=name, daemon=True).start()
    return future
