"""Hosts of a RabbitMQ: connects to one of the nodes that a broker URL names.

Guarantees that a node which does not answer costs only its share of the time, and that the node
which answered last is asked first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import amqp

Opened = TypeVar("Opened")


class AmqpHosts:
    """The nodes of one broker URL, which separates them by `;`."""

    def __init__(self, url: str) -> None:
        self._urls = url.split(";")
        self._first = 0

    def connect(self, open_host: Callable[[str, float], Opened], timeout_s: float) -> Opened:
        """Return what `open_host` returns for the first node that answers.

        open_host: is given the URL of one node, and how long connecting to it may take.
        Raises: OSError, amqp.AMQPError: what the last node gave, when none answers.
        """
        share_s = timeout_s / len(self._urls)
        for offset in range(len(self._urls)):
            index = (self._first + offset) % len(self._urls)
            try:
                opened = open_host(self._urls[index], share_s)
            except (OSError, amqp.AMQPError) as error:
                failed = error
            else:
                self._first = index
                return opened
        raise failed
