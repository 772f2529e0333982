"""Impact of an outage: adds to each component that is down what this means for transfers.

Pure. The text depends on the other components too: transfers go on without the database while
the broker buffers them, but not without both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from monitoring.health.report import Component

_DATABASE = "transfers are buffered in the broker and settle when the database is back"
_BROKER = "transfers are accepted and wait in the database until the broker is back"
_BOTH = "the {other} cannot store transfers either: they are refused with 503, nothing is lost"
_CACHE = "transfers go on; prices come from the database, each process counts rate limits alone"


def explain(components: Mapping[str, Component]) -> dict[str, Component]:
    """Return the components; the detail of each that is down says what this means."""
    impacts = {
        "database": _DATABASE if _can_store("broker", components) else _BOTH.format(other="broker"),
        "broker": _BROKER if _can_store("database", components) else _BOTH.format(other="database"),
        "cache": _CACHE,
    }
    return {
        name: replace(component, detail=f"{component.detail}: {impacts[name]}")
        if component.status == "down" and name in impacts
        else component
        for name, component in components.items()
    }


def _can_store(name: str, components: Mapping[str, Component]) -> bool:
    return name not in components or components[name].can_store
