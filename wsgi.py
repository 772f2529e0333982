"""Composition root of the HTTP API, which gunicorn serves as `wsgi:app`.

Nothing connects here and no thread starts: gunicorn imports this module once, and then forks the
processes that serve requests. Each opens its connections with its first request.
"""

from __future__ import annotations

import os
import sys
from functools import partial

from api.app import create_app
from api.ops.tracing import TracedRequests
from api.services import build_services
from ledger.errors import Misconfigured
from monitoring.health.broker_probe import broker_probe
from settings import Settings
from tasks import reconciliation
from tasks.broker import queues
from tasks.broker.backpressure import BackpressureGauge
from tasks.broker.kick import Kicker
from tasks.buffer.intake_buffer import intake_buffer
from workers import sentry_hooks
from workers.celery_app import make_celery

_settings = Settings.from_environment()
_celery = make_celery(_settings)

try:
    _services = build_services(
        _settings,
        buffer=intake_buffer(_settings),
        kick=Kicker(_celery).kick,
        pressure=BackpressureGauge(broker_probe(_settings.broker_url)),
        queue_lengths=partial(queues.lengths, _celery),
        reconcile=Kicker(_celery, reconciliation.publish_unless_scans_wait).kick,
    )
except Misconfigured as error:  # gunicorn imports this before it asks `api/gunicorn.conf.py`
    sys.exit(f"api: {error}")
app = create_app(_services, proxy_hops=_settings.proxy_hops)
if _settings.sentry_dsn is not None:
    start_sentry = partial(sentry_hooks.start_sentry, _settings, program="api")
    os.register_at_fork(after_in_child=start_sentry)
    app.wsgi_app = TracedRequests(app.wsgi_app)  # type: ignore[method-assign]  # Flask's own way
