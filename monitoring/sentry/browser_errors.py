"""Browser errors: turns a report of one of our pages into a log line and a Sentry event.

Guarantees that only redacted texts of a report are used (`monitoring.redaction`), and only script
positions of its stack. The sender is unknown and may write anything: nothing in a report is
trusted, and none of its texts becomes the name of an event, a metric or a label.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from monitoring.redaction import scrub, scrub_path, scrub_url

MAX_FRAMES: Final = 50
_MAX_LINE: Final = 500

# "    at save (https://host/assets/wallet.js:10:15)" of Chromium, and "at https://…:10:15".
_CHROMIUM: Final = re.compile(
    r"\s{0,8}at (?:(?P<function>[^()]{1,100}) \(|async )?(?P<file>[^\s()]{1,300}):(?P<line>\d{1,9})"
    r":(?P<column>\d{1,9})\)?\s{0,8}"
)
# "save@https://host/assets/wallet.js:10:15" of Firefox and Safari.
_FIREFOX: Final = re.compile(
    r"(?P<function>[^@]{0,100})@(?P<file>[^\s@]{1,300}):(?P<line>\d{1,9}):(?P<column>\d{1,9})"
)


@dataclass(frozen=True, kw_only=True)
class BrowserError:
    """One report as received. kind: how the page noticed the error. count: how often."""

    page: str
    panel: str | None
    kind: str
    name: str
    message: str
    stack: str | None
    url: str | None
    request_id: str | None
    count: int

    def fields(self) -> dict[str, object]:
        """Return the fields for the log, limited in length."""
        frames = stack_frames(self.stack or "")
        fields = {
            **self._tags(),
            "kind": self.kind,
            "name": self._safe_name,
            "message": scrub(self.message, max_length=500),
            "url": self.url and scrub_path(self.url),
            "frames": [f"{it['filename']}:{it['lineno']}:{it['colno']}" for it in frames[-3:]],
            "count": self.count,
        }
        return {name: value for name, value in fields.items() if value not in (None, [])}

    def event(self) -> dict[str, Any]:
        """Return the event for Sentry: one error name in one panel is one issue."""
        frames = stack_frames(self.stack or "")
        exception: dict[str, Any] = {
            "type": self._safe_name,
            "value": scrub(self.message),
            "mechanism": {"type": self.kind, "handled": self.kind == "render"},
        }
        if frames:
            exception["stacktrace"] = {"frames": frames}
        event: dict[str, Any] = {
            "platform": "javascript",
            "level": "error",
            "logger": "browser",
            "exception": {"values": [exception]},
            "fingerprint": ["browser", self.page, self.panel or "", self._safe_name],
            "tags": {**self._tags(), "kind": self.kind},
            "extra": {"count": self.count},
        }
        if self.url:
            event["request"] = {"url": scrub_path(self.url)}
        return event

    @property
    def _safe_name(self) -> str:
        return scrub(self.name, max_length=100)

    def _tags(self) -> dict[str, str]:
        tags = {"page": self.page, "panel": self.panel}
        # A request id is kept if it has the form of a random one; a client may choose any text.
        if self.request_id and re.fullmatch(r"[0-9a-f]{32}|[0-9a-f-]{36}", self.request_id):
            tags["request_id"] = self.request_id
        return {name: value for name, value in tags.items() if value}


def stack_frames(stack: str) -> list[dict[str, Any]]:
    """Parse a browser's stack. Returns: its frames in Sentry's form, the innermost last.

    Other lines are left out, such as the first of a Chromium stack, the error's message.
    """
    frames = []
    for line in stack.splitlines()[:MAX_FRAMES]:
        found = _CHROMIUM.fullmatch(line[:_MAX_LINE]) or _FIREFOX.fullmatch(line[:_MAX_LINE])
        if found is None:
            continue
        file = found["file"]
        frame = {
            "function": scrub(found["function"] or "?", max_length=100),
            "filename": scrub_url(file) if "://" in file else scrub_path(file),
            "lineno": int(found["line"]),
            "colno": int(found["column"]),
            "in_app": True,
        }
        frames.append(frame)
    return frames[::-1]
