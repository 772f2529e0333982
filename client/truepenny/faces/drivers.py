"""Drivers: carry out plans over HTTP, one blocking, one asynchronous. Nothing else does I/O."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TypeVar

import httpx2

from truepenny.faces import http
from truepenny.protocol.actions import HttpAnswer, Outcome, Plan, Send, SendFailure
from truepenny.protocol.session import Session

T = TypeVar("T")


class Driver:
    """Carries out plans and waits for them. Safe to use from many threads."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._client = http.new_client()
        self._process = os.getpid()
        self._of_parents: list[httpx2.Client] = []

    def run(self, plan: Plan[T]) -> T:
        """Return the result of a plan. Raises: what the plan raises."""
        outcome: Outcome = None
        try:
            while True:
                action = plan.send(outcome)
                if isinstance(action, Send):
                    outcome = self._send(action)
                else:
                    time.sleep(action.seconds)
                    outcome = None
        except StopIteration as end:
            result: T = end.value
            return result

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _send(self, send: Send) -> HttpAnswer | SendFailure:
        client = self._own_client()
        made = http.request(client, self.session.server.base_url, send)
        left: http.TimeLeft = made.extensions["timeout"]
        try:
            response = client.send(made, stream=True)
            try:
                body = bytearray()
                for piece in response.iter_bytes():
                    body += piece
                    left.require(len(body))
                return http.answer(response, bytes(body))
            finally:
                response.close()
        except httpx2.RequestError as error:
            return http.failure(error)

    def _own_client(self) -> httpx2.Client:
        """Return the connections of this process.

        After a fork, parent and child would read each other's answers from one connection.
        """
        if self._process != os.getpid():
            self._of_parents.append(self._client)  # not closed: the parent uses them
            self._client = http.new_client()
            self._process = os.getpid()
        return self._client


class AsyncDriver:
    """Carries out plans without blocking, for one event loop."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._client = http.new_async_client()

    async def run(self, plan: Plan[T]) -> T:
        """Return the result of a plan. Raises: what the plan raises."""
        outcome: Outcome = None
        try:
            while True:
                action = plan.send(outcome)
                if isinstance(action, Send):
                    outcome = await self._send(action)
                else:
                    await asyncio.sleep(action.seconds)
                    outcome = None
        except StopIteration as end:
            result: T = end.value
            return result

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _send(self, send: Send) -> HttpAnswer | SendFailure:
        made = http.request(self._client, self.session.server.base_url, send)
        left: http.TimeLeft = made.extensions["timeout"]
        try:
            response = await self._client.send(made, stream=True)
            try:
                body = bytearray()
                async for piece in response.aiter_bytes():
                    body += piece
                    left.require(len(body))
                return http.answer(response, bytes(body))
            finally:
                await response.aclose()
        except httpx2.RequestError as error:
            return http.failure(error)
