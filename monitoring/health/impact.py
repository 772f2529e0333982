"""What a part that is away means for transfers: the words for whoever is woken by it.

Pure. Which words fit depends on the other parts too: a database that is away is an
inconvenience while the broker buffers, and an outage when that is away as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from monitoring.health.report import Component

_BOTH = "and the broker takes nothing either: transfers are refused with 503, nothing is lost"
_DATABASE = "transfers are buffered in the broker and settle when it is back"
_BROKER_TOO = (
    "and the database takes nothing either: transfers are refused with 503, nothing is lost"
)
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
            return _DATABASE if _can_store("broker", components) else _BOTH
        case "broker":
            return _BROKER if _can_store("database", components) else _BROKER_TOO
        case "cache":
            return _CACHE
    return None


def _can_store(name: str, components: Mapping[str, Component]) -> bool:
    return name not in components or components[name].can_store
