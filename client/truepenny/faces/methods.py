"""Methods of resources, made of the calls: one mechanism for both faces.

A call is written once, as a function of a session that describes what to do. A face says how
that is carried out: by blocking, by awaiting, or as a list.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from truepenny.protocol.session import Session


class HasSession(Protocol):
    """A driver."""

    @property
    def session(self) -> Session:
        """What all calls of one client share."""
        ...


D = TypeVar("D", bound=HasSession)
P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class Resource(Generic[D]):
    """Calls that belong together."""

    def __init__(self, driver: D) -> None:
        self._driver = driver


class Method(Generic[D, P, R, T]):
    """A call, as a method of a resource, with the call's own arguments."""

    def __init__(
        self, describe: Callable[Concatenate[Session, P], R], carry_out: Callable[[D, R], T]
    ) -> None:
        self._describe = describe
        self._carry_out = carry_out
        self.__doc__ = describe.__doc__

    @overload
    def __get__(self, resource: None, kind: object) -> Method[D, P, R, T]: ...
    @overload
    def __get__(self, resource: Resource[D], kind: object) -> Callable[P, T]: ...
    def __get__(
        self, resource: Resource[D] | None, kind: object
    ) -> Method[D, P, R, T] | Callable[P, T]:
        if resource is None:
            return self
        driver = resource._driver  # noqa: SLF001 - a descriptor is part of its class

        @wraps(self._describe)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            return self._carry_out(driver, self._describe(driver.session, *args, **kwargs))

        return call
