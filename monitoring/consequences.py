"""What a part that is away means for transfers: the words for whoever is woken by it.

Pure. Which words fit depends on the other parts too: a database that is away is an
inconvenience while the broker buffers, and an outage when that is away as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from monitoring.health import Component

_BOTH = "and the broker is away too: transfers are refused with 503, nothing is lost"
_DATABASE = "transfers are buffered in the broker and settle when it is back"
_BROKER_TOO = "and the database is away too: transfers are refused with 503, nothing is lost"
_BROKER = "transfers are taken and wait in the database until it is back"
_CACHE = "transfers go on; prices come from the database, limits are counted by each process"


def explain(components: Mapping[str, Component]) -> dict[str, Component]:
    """Return the components, each that is down with what that means."""
    return {name: _explained(name, components) for name in components}


def _explained(name: str, components: Mapping[str, Component]) -> Component:
    component = components[name]
    meaning = _meaning(name, components) if component.status == "down" else None
    if meaning is None:
        return component
    return replace(component, detail=f"{component.detail}: {meaning}")


def _meaning(name: str, components: Mapping[str, Component]) -> str | None:
    match name:
        case "database":
            return _BOTH if _is_down("broker", components) else _DATABASE
        case "broker":
            return _BROKER_TOO if _is_down("database", components) else _BROKER
        case "cache":
            return _CACHE
    return None


def _is_down(name: str, components: Mapping[str, Component]) -> bool:
    return name in components and components[name].status == "down"
