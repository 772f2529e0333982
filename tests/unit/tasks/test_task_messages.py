"""Messages of tasks: they name a batch or nothing, and they are JSON."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from celery import Celery

from settings import Settings
from testing.identity import IDENTITY
from workers.celery_app import make_celery


@pytest.fixture(scope="module")
def app() -> Celery:
    servers = {
        "DATABASE_URL": "postgresql://x",
        "BROKER_URL": "redis://x",
        "CACHE_URL": "redis://x",
    }
    app = make_celery(Settings.from_environment({**IDENTITY, **servers}))
    app.loader.import_default_modules()
    return app


def test_only_json_is_read_from_the_broker(app: Celery) -> None:
    control: Any = app.control
    receiver: Any = app.events.Receiver(None)
    assert app.conf.accept_content == ["json"]
    assert list(control.mailbox.accept) == ["json"]
    assert set(receiver.accept) == {"json"}


def test_a_task_takes_a_batch_id_or_nothing(app: Celery) -> None:
    ours = {name: task for name, task in app.tasks.items() if not name.startswith("celery.")}
    arguments = {name: list(inspect.signature(task.run).parameters) for name, task in ours.items()}
    assert arguments.pop("money.reserve") == ["batch_id"]
    assert len(ours) > len([name for name in arguments if name.startswith("money.")]) > 0
    for name, taken in arguments.items():
        assert taken == (["batch_id"] if name.startswith("money.") else []), name
