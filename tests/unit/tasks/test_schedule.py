"""Schedule of beat: each entry goes to a consumed queue, and no clocks are compared."""

from __future__ import annotations

from beat.schedule import beat_schedule
from tasks.broker import queues
from tests.unit.settings.test_settings import read
from workers.celery_app import make_celery


def test_prices_are_refreshed_every_two_seconds() -> None:
    entry = beat_schedule(read())["prices"]
    assert entry["task"] == "prices.refresh"
    assert entry["schedule"] == 2.0
    assert entry["options"] == {"queue": queues.WATCH}


def test_no_message_expires_by_the_difference_of_two_clocks() -> None:
    for entry in beat_schedule(read()).values():
        assert not {"expires", "eta", "countdown"} & entry["options"].keys()


def test_no_prices_are_fetched_when_they_are_off() -> None:
    entries = beat_schedule(read(PRICE_SYMBOLS="none"))
    assert set(beat_schedule(read())) - set(entries) == {"prices"}


def test_every_entry_is_a_known_task_on_its_own_queue() -> None:
    app = make_celery(read())
    app.loader.import_default_modules()
    for entry in beat_schedule(read()).values():
        assert entry["task"] in app.tasks
        routed = app.amqp.router.route({}, entry["task"])["queue"].name
        assert routed == entry["options"]["queue"]
