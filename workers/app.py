"""The Celery application that `celery --app workers.app` loads."""

from __future__ import annotations

from settings import Settings
from workers import lifecycle
from workers.celery_app import make_celery

app = make_celery(Settings.from_environment())
lifecycle.install(app)
