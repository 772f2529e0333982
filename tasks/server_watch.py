"""The server watch as a task: checks broker and cache."""

from __future__ import annotations

from celery import shared_task

from monitoring.health.server_watch import ServerWatch
from settings import Settings
from tasks.run_log import recorded_run

TASK_NAME = "monitors.watch_servers"


@shared_task(name=TASK_NAME)
def watch_servers() -> None:
    """Check broker and cache, and log which problems are new and which are over.

    Needs no database. A second run at the same time may log a change twice, which is harmless.
    """
    settings = Settings.from_environment()
    watch = ServerWatch(settings.data_dir / "run" / "servers.json")
    with recorded_run("servers") as run:
        problems = watch.check(broker_url=settings.broker_url, cache_url=settings.cache_url)
        run.ok, run.result = not problems, "; ".join(problems) or "broker and cache are well"
