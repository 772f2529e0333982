"""TCP proxy of a storm: passes bytes on, or cuts, delays, holds back or drops them.

Runs as a process of its own: `python -m testing.storm.proxy LISTEN TARGET`, both ports on
loopback. Each line on its standard input is a mode; at the end of the input it ends.

pass        every byte, as it comes
cut         ends all connections once, then as `pass`
slow        every piece a tenth of a second late
half-open   accepts connections and keeps those there are, and passes nothing on
deaf        passes requests on, and no answers
drops       passes requests on, and ends the connection instead of passing on some answers
"""

from __future__ import annotations

import asyncio
import random
import sys
from contextlib import suppress

from stack.servers.ports import LOOPBACK

_READ_BYTES = 65536
_LATE_S = 0.1
_ANSWERS = (5, 60)
"""With `drops`, how many answers pass before one is dropped: connections begin with a few."""


class Proxy:
    """The connections of one proxy, and its mode."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.mode = "pass"
        self.writers: set[asyncio.StreamWriter] = set()
        self.changed = asyncio.Event()

    def change(self, mode: str) -> None:
        """Change the mode. Bytes that were held back are lost with their connections."""
        if mode == "cut" or self.mode in ("half-open", "deaf"):
            for writer in self.writers:
                writer.transport.abort()
        self.mode = "pass" if mode == "cut" else mode

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either side ends it."""
        mine, ways = {writer}, set[asyncio.Task[None]]()
        self.writers |= mine
        try:
            onward, to_target = await asyncio.open_connection(LOOPBACK, self.target)
            mine.add(to_target)
            self.writers |= mine
            ways = {
                asyncio.ensure_future(self._carry(reader, to_target, is_answer=False)),
                asyncio.ensure_future(self._carry(onward, writer, is_answer=True)),
            }
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            pass
        finally:
            for way in ways:
                way.cancel()
            for each in mine:
                each.transport.abort()
            self.writers -= mine

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool
    ) -> None:
        left = random.randint(*_ANSWERS)  # noqa: S311 - the plan says when, chance which answer
        with suppress(OSError):
            while data := await reader.read(_READ_BYTES):
                mode = self.mode
                if mode == "slow":
                    await asyncio.sleep(_LATE_S)
                elif mode == "half-open" or (mode == "deaf" and is_answer):
                    await asyncio.Event().wait()  # until the connection is cut
                elif mode == "drops" and is_answer:
                    left -= 1
                    if left <= 0:
                        return
                writer.write(data)
                await writer.drain()


async def main(listen: int, target: int) -> None:
    """Serve until standard input ends."""
    proxy = Proxy(target)
    server = await asyncio.start_server(proxy.serve, LOOPBACK, listen)
    commands = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(commands)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    while line := await commands.readline():
        proxy.change(line.decode().strip())
    server.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
