# ruff: noqa: N999 - the name tells gunicorn that this is a file and no module
"""Gunicorn configuration of the API with one thread and small limits, for quick tests."""

import runpy

from api.gunicorn_worker import BoundedThreadWorker

globals().update(runpy.run_path("api/gunicorn.conf.py"))


class ImpatientWorker(BoundedThreadWorker):
    """Gives a client two seconds, and little memory."""

    request_limit_s = 2.0
    answer_limit_s = 2.0
    memory_limit_bytes = 3 * 1024 * 1024


worker_class = ImpatientWorker
workers = 1
threads = 1
worker_connections = 30
