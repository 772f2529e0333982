"""The worker's request for a link: sends the events of the links that its job ran in place."""

from __future__ import annotations

from typing import Any

from celery.worker.request import Request

from tasks.in_place import InPlaceResult


class LinkRequest(Request):
    """Celery's request, in the worker's main process, which alone sends events."""

    def send_event(self, type: str, **fields: Any) -> None:
        """Send an event of this task, and behind its last one those of the links in place."""
        result = fields.get("result")
        if not isinstance(result, InPlaceResult):
            super().send_event(type, **fields)
            return
        own = {"result": result.first, "timestamp": result.first_ended_at}
        super().send_event(type, **fields | own)
        for event, its_fields in result.events:
            self.eventer.send(event, **its_fields)
