"""Says once that something began to go wrong, and once that it is over."""

from __future__ import annotations

from monitoring.logs import EventLogger


class Troubles:
    """What goes wrong right now, so that a lasting trouble is not logged every two seconds."""

    def __init__(self, log: EventLogger) -> None:
        self._log = log
        self._known: set[tuple[str, ...]] = set()

    def note(self, event: str, reason: str | None, **fields: str) -> None:
        """Say how it stands with one thing: what is wrong, or None when nothing is.

        A reason that changes while the trouble lasts is not logged again.
        """
        thing = (event, *fields.values())
        if reason is not None and thing not in self._known:
            self._known.add(thing)
            self._log.warning(event, reason=reason, **fields)
        elif reason is None and thing in self._known:
            self._known.discard(thing)
            self._log.info("trouble_over", trouble=event, **fields)
