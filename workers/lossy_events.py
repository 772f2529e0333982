"""Celery's events for Flower: each is sent once, and lost if that fails.

Guarantees that events, which are only for display, never block what moves money. Celery itself
repeats a heartbeat event from the worker's event loop until the broker takes it, and keeps all
other events in memory. While the broker is away, its workers would stop or their memory grow.
"""

from __future__ import annotations

from typing import Any

from celery.app.events import Events as CeleryEvents
from celery.events.dispatcher import EventDispatcher

from monitoring.logs import get_logger
from resilience.cooldown import Cooldown

log = get_logger(__name__)

TIMEOUT_S = 1.0
PAUSE_AFTER_FAILURE_S = 20.0
"""A broker that does not answer then costs the loop a twentieth of its time."""


class Events(CeleryEvents):
    """Celery's events with our dispatcher."""

    dispatcher_cls = "workers.lossy_events:LossyDispatcher"


class LossyDispatcher(EventDispatcher):
    """Tries each event once, and after a failure sends none for a while."""

    exchange: Any
    serializer: Any
    headers: Any
    delivery_mode: Any

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._cooldown = Cooldown(PAUSE_AFTER_FAILURE_S)
        super().__init__(*arguments, **options)

    def _publish(
        self,
        event: Any,
        producer: Any,
        routing_key: str,
        retry: bool = False,  # noqa: ARG002, FBT001, FBT002 - the signature is Celery's
        retry_policy: Any = None,  # noqa: ARG002
        utcoffset: Any = None,  # noqa: ARG002
    ) -> None:
        if producer is None or not self._cooldown.allows():
            return
        try:
            producer.publish(
                event,
                routing_key=routing_key,
                exchange=self.exchange.name,
                declare=[self.exchange],
                serializer=self.serializer,
                headers=self.headers,
                delivery_mode=self.delivery_mode,
                retry=False,
                timeout=TIMEOUT_S,
                confirm_timeout=TIMEOUT_S,
            )
        except Exception as error:  # noqa: BLE001 - any error of a broker's client
            self._cooldown.start()
            log.info("events_not_sent", error=type(error).__name__)
        else:
            self._cooldown.end()
