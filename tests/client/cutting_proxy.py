"""A TCP proxy before the API that cuts connections, at random, at every place where one can break.

It looks at nothing: any piece of bytes that passes may be the last. So a request can end before
it arrives, half arrived, arrived but not answered, or half answered.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from stack.servers.ports import LOOPBACK, free_port

_READ_BYTES = 65_536


@dataclass
class CuttingProxy:
    """Passes bytes on, and ends connections with the given chances, which may be changed."""

    target: int
    chance_before: float = 0.0
    """Of a piece of a request: that it and the rest do not arrive."""
    chance_after: float = 0.0
    """Of a piece of an answer: that the request has arrived, and the answer does not."""
    chance_within: float = 0.0
    """Of a piece of an answer: that only a part of it arrives."""
    port: int = field(default_factory=free_port)
    cuts: dict[str, int] = field(default_factory=lambda: {"before": 0, "after": 0, "within": 0})
    random: random.Random = field(default_factory=lambda: random.Random(20261129))  # noqa: S311

    ways: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_target, to_target = await asyncio.open_connection(LOOPBACK, self.target)
        except OSError:
            writer.transport.abort()
            return
        ways = {
            asyncio.ensure_future(self._requests(reader, to_target)),
            asyncio.ensure_future(self._answers(from_target, writer)),
        }
        self.ways |= ways
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        for each in (writer, to_target):
            each.transport.abort()
        self.ways -= ways

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_READ_BYTES):
                if self._is_cut("before", self.chance_before):
                    writer.write(data[: len(data) // 2])
                    await writer.drain()
                    return
                writer.write(data)
                await writer.drain()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_READ_BYTES):
                if self._is_cut("after", self.chance_after):
                    return
                if self._is_cut("within", self.chance_within):
                    writer.write(data[: len(data) - 1])
                    await writer.drain()
                    writer.close()
                    return
                writer.write(data)
                await writer.drain()

    def _is_cut(self, where: str, chance: float) -> bool:
        is_cut = self.random.random() < chance
        self.cuts[where] += is_cut
        return is_cut


@contextmanager
def cutting(
    target: int,
    *,
    chance_before: float = 0.0,
    chance_after: float = 0.0,
    chance_within: float = 0.0,
) -> Iterator[CuttingProxy]:
    """Run a proxy in a thread of its own while the block runs."""
    proxy = CuttingProxy(target, chance_before, chance_after, chance_within)
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(proxy.serve, LOOPBACK, proxy.port))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(_end(server, proxy), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _end(server: asyncio.Server, proxy: CuttingProxy) -> None:
    server.close()
    while proxy.ways:
        for way in list(proxy.ways):
            way.cancel()  # then its connection is closed by `serve`
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.05)
