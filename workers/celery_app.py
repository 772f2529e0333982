"""Builds the Celery application, for workers, beat, Flower, and the API that publishes tasks."""

from __future__ import annotations

from typing import Any

from celery import Celery
from kombu import Exchange, Queue

from beat.schedule import beat_schedule
from monitoring.health import amqp_tls
from resilience.redis_client import is_redis
from settings import Settings
from tasks import hops
from tasks.broker import producer, queues

SOFT_TIME_LIMIT_S = 45
TIME_LIMIT_S = 60
VISIBILITY_TIMEOUT_S = 120
"""After this time the Redis broker delivers a dead worker's messages again. Longer than any task
may run, or a task would run twice at once."""
BROKER_TIMEOUT_S = 2.0
"""The time limit of one call to the broker, so that a broker that hangs blocks no process."""
HEARTBEAT_S = 10
"""RabbitMQ and its consumers close a connection after two intervals without a heartbeat."""
MAX_DELIVERIES = 20
"""RabbitMQ drops a message after so many deliveries, since it may be what kills its consumers.
The recovery scan re-drives its batch."""


def make_celery(settings: Settings) -> Celery:
    """Build the application. Connects to nothing until something is published or consumed."""
    amqp_tls.install()
    hops.install()
    producer.install()
    app = Celery(
        "truepenny",
        broker=settings.broker_url,
        include=_TASK_MODULES,
        events="workers.lossy_events:Events",
    )
    app.conf.update(
        task_queues=[_queue(name, settings) for name in queues.HINTS],
        task_default_queue=queues.SCANS,
        task_create_missing_queues=False,
        task_routes=queues.ROUTES,
        beat_schedule=beat_schedule(settings),
        beat_scheduler="beat.scheduler:BoundedScheduler",
        **_TASKS,
        **_WORKERS,
        **_broker(settings),
    )
    # Tasks are also published from threads, which only see a default application.
    app.set_default()
    return app


_TASK_MODULES = (
    "tasks.chain",
    "tasks.transfer_counts",
    "tasks.drain",
    "tasks.server_watch",
    "tasks.prices",
    "tasks.reconciliation",
    "tasks.recovery",
)

_TASKS: dict[str, Any] = {
    "task_serializer": "json",
    "accept_content": ["json"],
    "task_ignore_result": True,
    "task_acks_late": True,
    # The message of a child that dies is lost, and the recovery scan re-drives its batch a
    # little later. Delivering it again at once would let a message that kills its worker kill
    # all workers in turn.
    "task_reject_on_worker_lost": False,
    "task_soft_time_limit": SOFT_TIME_LIMIT_S,
    "task_time_limit": TIME_LIMIT_S,
}

_WORKERS: dict[str, Any] = {
    "worker_prefetch_multiplier": 1,
    "worker_send_task_events": True,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "worker_consumer": "workers.consumer:SteadyConsumer",
    # When the broker refuses an operation (its memory is full, a queue was deleted), the worker
    # reconnects instead of ending.
    "broker_channel_error_retry": True,
    "enable_utc": True,
    "timezone": "UTC",
}


def _queue(name: str, settings: Settings) -> Queue:
    # A direct exchange of the queue's name: a queue that is deleted and declared again then
    # needs no binding.
    if not _is_amqp(settings):  # its transport puts our prefix before every key
        return Queue(name, Exchange(name, type="direct"), routing_key=name)
    own = settings.queue_prefix + name
    return Queue(
        own,
        Exchange(own, type="direct"),
        routing_key=own,
        alias=name,  # the name by which everything else asks for it
        queue_arguments={"x-queue-type": "quorum", "x-delivery-limit": MAX_DELIVERIES},
    )


def _broker(settings: Settings) -> dict[str, Any]:
    visibility = {"visibility_timeout": VISIBILITY_TIMEOUT_S}
    if _is_amqp(settings):
        options: dict[str, Any] = {
            # Without it a message that the broker cannot take is lost silently.
            "confirm_publish": True,
            "read_timeout": BROKER_TIMEOUT_S,
            "write_timeout": BROKER_TIMEOUT_S,
        }
        # Others on the same RabbitMQ must neither hear nor command our workers.
        exchanges = {
            "control_exchange": f"{settings.queue_prefix}celery",
            "event_exchange": f"{settings.queue_prefix}celeryev",
            "event_queue_prefix": f"{settings.queue_prefix}celeryev",
        }
    else:
        exchanges = {}
        options = {
            **visibility,
            "global_keyprefix": settings.key_prefix,
            # Sorted by name: money.advance comes before money.reserve.
            "queue_order_strategy": "sorted",
            "socket_timeout": BROKER_TIMEOUT_S,
            "socket_connect_timeout": BROKER_TIMEOUT_S,
            "socket_keepalive": True,
            "health_check_interval": 10,
        }
    return {
        "broker_transport_options": options | _RECONNECT,
        # Celery reads the visibility timeout from three places.
        "result_backend_transport_options": visibility,
        **visibility,
        "broker_connection_timeout": BROKER_TIMEOUT_S,
        "broker_heartbeat": HEARTBEAT_S,
        **_CONTROL,
        **exchanges,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "task_publish_retry": True,
        "task_publish_retry_policy": {
            "max_retries": 2,
            "interval_start": 0.1,
            "interval_step": 0.2,
            "interval_max": 0.5,
        },
    }


_CONTROL = {"control_queue_exclusive": False, "control_queue_durable": True}
"""With an exclusive queue, a worker that restarts before RabbitMQ notices that its old connection
is dead would be locked out of its queue, and could not start. This queue expires when unused."""

_RECONNECT = {"max_retries": 3, "interval_start": 0.0, "interval_step": 0.2, "interval_max": 0.5}
"""A publisher gives up soon, and tries again with its next message."""


def _is_amqp(settings: Settings) -> bool:
    return not is_redis(settings.broker_url)
