"""Scene of a storm: what its faults may use."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from ledger.wallets import Wallet
from testing.storm.installation import Installation
from testing.storm.plan import Fault


class NotNow(Exception):
    """This fault cannot be made at this moment, and would prove nothing."""


@dataclass(frozen=True)
class Scene:
    """What a fault may use."""

    installation: Installation
    wallets: list[Wallet]


Making = Callable[[Scene, Fault], AbstractContextManager[None]]
