"""Looking after what Truepenny stands on, as a task."""

from __future__ import annotations

from celery import shared_task

from monitoring.health.server_watch import ServerWatch
from settings import Settings
from tasks.run_log import noted

TASK_NAME = "monitors.watch_servers"


@shared_task(name=TASK_NAME)
def watch_servers() -> None:
    """Look at broker and cache, and log what began to be amiss and what is over.

    Needs no database. A second look at the same time may tell something twice, no worse.
    """
    settings = Settings.from_environment()
    watch = ServerWatch(settings.data_dir / "run" / "servers.json")
    with noted("servers") as run:
        amiss = watch.check(broker_url=settings.broker_url, cache_url=settings.cache_url)
        run.ok, run.result = not amiss, "; ".join(amiss) or "broker and cache are well"
