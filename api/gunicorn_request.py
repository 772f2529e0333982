"""Requests as gunicorn reads them: bounded heads, and bodies that are known to be whole.

Guarantees, with either of gunicorn's parsers (one in Python, one in C): a field that is too
large is named in the error, and a connection on which a body was not read to its end carries no
further request. What is left of such a body could otherwise be read as a request.
"""

from __future__ import annotations

import io
import re

from gunicorn.http.body import Body, ChunkedReader, LengthReader
from gunicorn.http.errors import (
    InvalidChunkSize,
    InvalidHeader,
    InvalidRequestLine,
    LimitRequestLine,
    NoMoreData,
    ParseException,
)
from gunicorn.http.message import TOKEN_RE, Request
from gunicorn.http.parser import RequestParser
from gunicorn.http.unreader import Unreader

MAX_REQUEST_LINE = 4094
MAX_FIELDS = 100
MAX_FIELD_VALUE = 8192
MAX_FIELD_LINE = MAX_FIELD_VALUE + 256
"""Name, colon, blanks and value of a field, in bytes."""
MAX_CHUNK_LINES = 16 * 1024
"""The line before a chunk, and all trailers together, in bytes."""
_CRLF = b"\r\n"
# Three parts with one space between them; each of gunicorn's parsers takes something else too.
_REQUEST_LINE = re.compile(rb"[^\x00-\x20\x7f]+ [^\x00-\x20\x7f]+ [^\x00-\x20\x7f]+")
_SHOWN_OF_A_NAME = 64


class HeadersTooLarge(ParseException):
    """A request head with a field that is too large, or with too many fields."""

    def __init__(self, detail: str) -> None:
        """Make the error. detail: for the client; it names the field."""
        super().__init__(detail)
        self.detail = detail


class BoundedRequest(Request):
    """One request, whose head is checked before gunicorn parses it."""

    def parse(self, unreader: Unreader) -> bytes:
        """Read the head and parse it. Returns: what has arrived behind it.

        Raises: ParseException: when it is too large or malformed.
        """
        unreader.unread(read_head(unreader))
        return super().parse(unreader)

    def set_body_reader(self) -> None:
        """Choose how the body is read, by the headers."""
        super().set_body_reader()
        chosen = self.body.reader  # type: ignore[union-attr]  # set by the line above
        if isinstance(chosen, LengthReader):
            self._reader: _Sized | _Chunked = _Sized(self.unreader, chosen.length)
        else:
            self._reader = _Chunked(self, self.unreader)
        self.body = Body(self._reader)

    def should_close(self) -> bool:
        """Return whether the connection must end after the answer.

        gunicorn asks when it writes the answer's head, so the answer says so too.
        """
        return super().should_close() or not self._reader.is_whole


class BoundedRequestParser(RequestParser):
    """The requests of one connection, one after the other."""

    mesg_class = BoundedRequest

    def forget_request(self) -> None:
        """Let go of the request that was answered: its head may have 800 KiB.

        An idle connection would keep it until the next request. The body must have been read.
        """
        self.mesg = None

    def is_next_here(self) -> bool:
        """Return whether a part of the next request was read together with the last one.

        A blank line is none: some clients send one behind a body.
        """
        return self.unreader.buf.getvalue() not in (b"", _CRLF)


class _Sized(LengthReader):
    """A body with a Content-Length."""

    def __init__(self, unreader: Unreader, length: int) -> None:
        super().__init__(unreader, length)
        self._missing = length
        self._is_broken = False

    @property
    def is_whole(self) -> bool:
        return not self._missing and not self._is_broken

    def read(self, size: int) -> bytes:
        try:
            data = super().read(size)
        except OSError:  # such as a time-out, which loses what was read before it
            self._is_broken = True
            raise
        self._missing -= len(data)
        return data


class _Chunked(ChunkedReader):
    """A chunked body. gunicorn's reader takes an error for the end when it is read again."""

    is_whole = False
    _is_broken = False

    def read(self, size: int) -> bytes:
        if self._is_broken:
            raise InvalidChunkSize(b"")
        try:
            data = super().read(size)
        except (OSError, ParseException) as error:  # the second kind comes from trailers
            self._is_broken = True
            raise InvalidChunkSize(b"") from error
        self.is_whole = self.parser is None
        return data

    def get_data(self, unreader: Unreader, buf: io.BytesIO) -> None:
        """Read more of a line before a chunk, or of the trailers."""
        if buf.tell() > MAX_CHUNK_LINES:
            raise InvalidChunkSize(b"")
        super().get_data(unreader, buf)


def read_head(unreader: Unreader) -> bytes:
    """Read until the head is complete. Returns: the head, and what has arrived behind it.

    Raises: HeadersTooLarge, LimitRequestLine, InvalidRequestLine, InvalidHeader: as soon as
    this is known. NoMoreData: when the connection ends within the head. StopIteration: when it
    ends before.
    """
    data = bytearray()
    start = 0  # of the line that is not complete yet
    lines = 0
    while True:
        piece = unreader.read()
        if not piece:
            if data:
                raise NoMoreData(bytes(data))
            raise StopIteration
        data += piece
        if not lines and not start and data.startswith(_CRLF):
            start = len(_CRLF)  # RFC 9112, 2.2: one blank line before a request is ignored
        while (end := data.find(_CRLF, start)) >= 0:
            if end == start and lines:
                return bytes(data.removeprefix(_CRLF))
            _check_line(bytes(data[start:end]), number=lines, is_complete=True)
            lines += 1
            start = end + len(_CRLF)
        # The last byte may be the first half of the line's end.
        begun = bytes(data[start:]).removesuffix(b"\r")
        _check_line(begun, number=lines, is_complete=False)


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
