"""Requests as they arrive: bounded heads, and bodies that are known to be whole.

Guarantees, with either of gunicorn's parsers (one in Python, one in C), that nothing here reads
from a connection or waits, that a field that is too large is named in the error, and that a
connection on which a body did not arrive whole carries no further request. What is left of such
a body could otherwise be read as a request.
"""

from __future__ import annotations

import io
import re
from typing import Any

from gunicorn.config import Config
from gunicorn.http.body import LengthReader
from gunicorn.http.errors import (
    ChunkMissingTerminator,
    InvalidChunkSize,
    InvalidHeader,
    InvalidRequestLine,
    LimitRequestLine,
    NoMoreData,
    ParseException,
)
from gunicorn.http.message import TOKEN_RE, Request
from gunicorn.http.unreader import IterUnreader

from api.http.body import BATCH_BODY_LIMIT, BodyTooLarge
from api.http.headers import REPEATED, repeated_headers
from api.http.problems import Problem

MAX_REQUEST_LINE = 4094
MAX_FIELDS = 100
MAX_FIELD_VALUE = 8192
MAX_FIELD_LINE = MAX_FIELD_VALUE + 256
"""Name, colon, blanks and value of a field, in bytes."""
MAX_CHUNK_LINES = 16 * 1024
"""The line before a chunk, and all trailers together, in bytes."""
MAX_CHUNKS = 16 * 1024
"""Of one body: chunks of a few bytes cost more to read than the bytes are worth."""
ANONYMOUS_BODY_LIMIT = 64 * 1024
"""How much is read of a body whose request names no key: enough for an error report."""
_CRLF = b"\r\n"
# Three parts with one space between them; each of gunicorn's parsers takes something else too.
_REQUEST_LINE = re.compile(rb"[^\x00-\x20\x7f]+ [^\x00-\x20\x7f]+ [^\x00-\x20\x7f]+")
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,16})(?:[ \t]*;[^\r\n]*)?")
_SHOWN_OF_A_NAME = 64
# The whole text of the error: as the parser in Python and the one in C write it.
_READ_BY_GUNICORN = re.compile(
    r"(?:Duplicate )?(Host|Content-Type|Content-Length)(?: header)?", re.IGNORECASE
)


class HeadersTooLarge(ParseException):
    """A request head with a field that is too large, or with too many fields."""

    def __init__(self, detail: str) -> None:
        """Make the error. detail: for the client; it names the field."""
        super().__init__(detail)
        self.detail = detail


class RequestReader:
    """Makes requests of the bytes that arrive on one connection."""

    def __init__(self, config: Config, client: Any) -> None:
        """Make a reader. client: the address of the other side, as gunicorn gives it."""
        self.arrived = bytearray()
        """What has arrived and is not part of a request yet. Append to it, then call `take`."""
        self._config = config
        self._client = client
        self._number = 0
        self.taken_bytes = 0
        """How large the body of the last request is, until `release`."""
        self._start_over()

    def _start_over(self) -> None:
        self._lines = 0  # complete ones of the head
        self._line_start = 0
        self._request: Request | None = None
        self._awaits_continue = False
        self._body: _SizedBody | _ChunkedBody = _SizedBody(0, limit=0)

    @property
    def held_bytes(self) -> int:
        """How much memory this takes, with the body of the request that is being answered."""
        return len(self.arrived) + len(self._body.content) + self.taken_bytes

    @property
    def is_begun(self) -> bool:
        """Whether a part of a request is here. A blank line is none: some clients send one."""
        return self._request is not None or self.arrived not in (b"", b"\r", _CRLF)

    @property
    def awaits_body(self) -> bool:
        """Whether the head is complete, and the body is not."""
        return self._request is not None

    @property
    def awaits_anonymous_body(self) -> bool:
        """The same, of a request that names no key."""
        return self._request is not None and not _names_key(self._request)

    def is_continue_due(self) -> bool:
        """Return once whether the client waits to be told that it may send the body."""
        is_due = self._awaits_continue
        self._awaits_continue = False
        return is_due

    def take(self) -> Request | None:
        """Return the next request if it has arrived whole, or need not be read further.

        Raises: ParseException: as soon as the head is known to be too large or malformed.
        """
        if self._request is None:
            if not self.arrived:
                return None
            head = self._take_head()
            if head is None:
                return None
            self._number += 1
            unreader = IterUnreader([head])
            try:
                self._request = Request(self._config, unreader, self._client, self._number)
            except (NoMoreData, StopIteration) as error:
                raise InvalidRequestLine("") from error
            # gunicorn joins repeated headers with commas. A key may contain commas, so the
            # application could not tell two keys from one.
            if names := repeated_headers([name for name, _ in self._request.headers]):
                self._request.headers.append((REPEATED, ",".join(names)))
            self._body = _body_of(self._request)
            # gunicorn has refused any other expectation.
            is_expecting = any(name == "EXPECT" for name, _ in self._request.headers)
            self._awaits_continue = is_expecting and (self._request.version or (1, 0)) >= (1, 1)
        if not self._body.take_from(self.arrived):
            return None
        return self.cut()

    def cut(self) -> Request:
        """Return the request with what has arrived of its body. The head must be complete.

        The connection ends after a body that is not whole.
        """
        request = self._request
        if request is None:
            raise ValueError("there is no head")
        request.body = self._body.as_input()  # type: ignore[assignment]  # it reads like gunicorn's
        if not self._body.is_whole:
            request.force_close()
        self.taken_bytes = len(self._body.content)
        self._start_over()
        return request

    def release(self) -> None:
        """Say that the last request was answered, so that its body takes no memory any more."""
        self.taken_bytes = 0

    def drop(self) -> None:
        """Forget what has arrived; no further request is read."""
        self.arrived.clear()
        self._start_over()

    def _take_head(self) -> bytes | None:
        """Check the lines that are complete. Returns: the head without a blank line before it."""
        data = self.arrived
        if not self._lines and not self._line_start and data.startswith(_CRLF):
            self._line_start = len(_CRLF)  # RFC 9112, 2.2: one blank line is ignored
        while (end := data.find(_CRLF, self._line_start)) >= 0:
            if end == self._line_start and self._lines:
                head = bytes(data[: end + len(_CRLF)])
                del data[: len(head)]
                return head.removeprefix(_CRLF)
            _check_line(bytes(data[self._line_start : end]), number=self._lines, is_complete=True)
            self._lines += 1
            self._line_start = end + len(_CRLF)
        # The last byte may be the first half of the line's end.
        begun = bytes(data[self._line_start :]).removesuffix(b"\r")
        _check_line(begun, number=self._lines, is_complete=False)
        return None


class _SizedBody:
    """A body with a Content-Length, or none."""

    def __init__(self, length: int, *, limit: int) -> None:
        self.content = bytearray()
        self._length = length
        self._is_too_large = length > limit

    @property
    def is_whole(self) -> bool:
        return len(self.content) == self._length

    def take_from(self, arrived: bytearray) -> bool:
        """Take what belongs to the body. Returns: whether nothing more of it is wanted."""
        missing = self._length - len(self.content)
        if missing and not self._is_too_large:
            self.content += arrived[:missing]
            del arrived[:missing]
        return self._is_too_large or self.is_whole

    def as_input(self) -> io.IOBase:
        """Return the body as WSGI's input, and keep nothing of it."""
        if self._is_too_large:
            return _Unreadable(BodyTooLarge())
        return io.BytesIO(self.content)


class _ChunkedBody:
    """A chunked body."""

    def __init__(self, request: Request, *, limit: int) -> None:
        self.content = bytearray()
        self.is_whole = False
        self._request = request
        self._limit = limit
        self._chunks = 0
        self._error: OSError = InvalidChunkSize(b"")

    def take_from(self, arrived: bytearray) -> bool:
        """Take the chunks that are complete. Returns: whether nothing more is wanted."""
        try:
            while not self.is_whole and self._take_chunk(arrived):
                pass
        except (OSError, ParseException) as error:  # the second kind comes from trailers
            if isinstance(error, BodyTooLarge):
                self._error = error
            return True
        return self.is_whole

    def _take_chunk(self, arrived: bytearray) -> bool:
        end = arrived.find(_CRLF)
        if max(end, 0 if end >= 0 else len(arrived)) > MAX_CHUNK_LINES:
            raise InvalidChunkSize(b"")
        if end < 0:
            return False
        line = _CHUNK_SIZE.fullmatch(arrived[:end])
        if line is None or self._chunks == MAX_CHUNKS:
            raise InvalidChunkSize(b"")
        start = end + len(_CRLF)
        size = int(line[1], 16)
        if not size:
            return self._take_trailers(arrived, start)
        if len(self.content) + size > self._limit:
            raise BodyTooLarge
        stop = start + size
        if len(arrived) < stop + len(_CRLF):
            return False
        if arrived[stop : stop + len(_CRLF)] != _CRLF:
            raise ChunkMissingTerminator(b"")
        self.content += arrived[start:stop]
        del arrived[: stop + len(_CRLF)]
        self._chunks += 1
        return True

    def _take_trailers(self, arrived: bytearray, start: int) -> bool:
        """Take the end of the body, behind the line of its last chunk."""
        # Without trailers, the blank line follows that line at once.
        end = arrived.find(_CRLF * 2, start - len(_CRLF))
        if (len(arrived) if end < 0 else end) - start > MAX_CHUNK_LINES:
            raise InvalidChunkSize(b"")
        if end < 0:
            return False
        if end >= start:
            self._request.parse_headers(bytes(arrived[start:end]), from_trailer=True)
        del arrived[: end + 2 * len(_CRLF)]
        self.is_whole = True
        return True

    def as_input(self) -> io.IOBase:
        """Return the body as WSGI's input, and keep nothing of it."""
        return io.BytesIO(self.content) if self.is_whole else _Unreadable(self._error)


class _Unreadable(io.RawIOBase):
    """The input of a request whose body is of no use."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._error = error

    def read(self, _size: int = -1) -> bytes:
        raise self._error


def refusal(error: ParseException) -> Problem:
    """Say what is wrong with a request that is not served, without quoting it."""
    if isinstance(error, HeadersTooLarge):
        return Problem("headers_too_large", error.detail)
    if isinstance(error, LimitRequestLine):
        return Problem("invalid_request", "The address is too long.")
    if isinstance(error, InvalidHeader) and (found := _READ_BY_GUNICORN.fullmatch(error.hdr)):
        name = found[1].title()
        return Problem("invalid_request", f"{name} is not valid, or is given more than once.")
    return Problem("invalid_request", "This is not a valid HTTP request.")


def _names_key(request: Request) -> bool:
    return any(name == "AUTHORIZATION" for name, _ in request.headers)


def _body_of(request: Request) -> _SizedBody | _ChunkedBody:
    limit = BATCH_BODY_LIMIT if _names_key(request) else ANONYMOUS_BODY_LIMIT
    reader = request.body.reader  # type: ignore[union-attr]  # gunicorn has chosen it by the head
    if isinstance(reader, LengthReader):
        return _SizedBody(reader.length, limit=limit)
    return _ChunkedBody(request, limit=limit)


def _check_line(line: bytes, *, number: int, is_complete: bool) -> None:
    """Check a line of a head. number: 0 is the request line."""
    if number == 0:
        if len(line) > MAX_REQUEST_LINE:
            raise LimitRequestLine(len(line), MAX_REQUEST_LINE)
        if b"\n" in line or b"\r" in line or (is_complete and not _REQUEST_LINE.fullmatch(line)):
            raise InvalidRequestLine("")
        return
    name, _, value = line.partition(b":")
    if is_complete and number > MAX_FIELDS:
        raise HeadersTooLarge(f"{_shown(name)} is one more than the {MAX_FIELDS} allowed.")
    if len(line) > MAX_FIELD_LINE or len(value.strip(b" \t")) > MAX_FIELD_VALUE:
        raise HeadersTooLarge(f"{_shown(name)} has more than {MAX_FIELD_VALUE} bytes.")
    if b"\n" in line or b"\r" in line:
        raise InvalidHeader("")


def _shown(name: bytes) -> str:
    """Return how an error names a field, whose name any client chose."""
    text = name.decode("latin-1")
    if not TOKEN_RE.fullmatch(text):
        return "A header"
    shown = text if len(text) <= _SHOWN_OF_A_NAME else text[:_SHOWN_OF_A_NAME] + "…"
    return f"The header {shown}"
