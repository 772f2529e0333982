"""TLS proxy: speaks TLS in front of a server on loopback, with a certificate of its own.

The certificate is for the name `localhost` alone, and is its own authority.
"""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path

from stack.servers.ports import LOOPBACK, free_port
from testing.programs import OPENSSL

HOST = "localhost"
_READ_BYTES = 65536


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """Make a certificate for HOST that is valid for two days. Returns: its file and its key's."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(
        [
            *(str(OPENSSL.path()), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{HOST}"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


@contextmanager
def tls_in_front_of(port: int, certificate: Path, key: Path) -> Iterator[int]:
    """Run a proxy to this port of loopback. Yields: the port on which it speaks TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    own_port, stop = free_port(), asyncio.Event()
    started: Future[asyncio.AbstractEventLoop] = Future()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            onward_reader, onward_writer = await asyncio.open_connection(LOOPBACK, port)
            writers.append(onward_writer)
            pumps = {_pump(reader, onward_writer), _pump(onward_reader, writer)}
            await asyncio.wait(
                {asyncio.ensure_future(each) for each in pumps},
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            for each in writers:
                each.transport.abort()

    async def serve() -> None:
        # On every address of this name.
        server = await asyncio.start_server(forward, HOST, own_port, ssl=context)
        started.set_result(asyncio.get_running_loop())
        await stop.wait()
        server.close()  # the connections end with the loop

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    loop = started.result(timeout=10)
    try:
        yield own_port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(_READ_BYTES):
            writer.write(data)
            await writer.drain()
