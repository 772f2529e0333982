"""Producer of messages: repeats a publication as a whole when its connection breaks.

kombu repeats the declaration of a queue by itself, on a new channel, and then publishes on the
old one, which is closed: an AttributeError. The two repetitions also multiply, up to a minute and
more on a broker that comes and goes. Here the declaration fails like the rest of the publication,
and the policy for publishing repeats both.
"""

from __future__ import annotations

from typing import Any

from kombu import Producer
from kombu.pools import ProducerPool


def install() -> None:
    """Let this process publish so. Harmless to repeat."""
    ProducerPool.Producer = WholeProducer


class WholeProducer(Producer):
    """A producer that declares a queue once in each attempt to publish to it."""

    def maybe_declare(
        self,
        entity: Any,
        retry: bool = False,  # noqa: ARG002, FBT001, FBT002 - the signature is kombu's
        **retry_policy: Any,  # noqa: ARG002
    ) -> Any:
        """Declare the queue, unless this connection has. Raises: any error of the transport."""
        return super().maybe_declare(entity, retry=False)
