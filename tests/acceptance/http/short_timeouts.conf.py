# ruff: noqa: N999 - the name tells gunicorn that this is a file and no module
"""Gunicorn configuration of the API with one thread and short time-outs, for quick tests."""

import runpy

from api.gunicorn_worker import BoundedThreadWorker

globals().update(runpy.run_path("api/gunicorn.conf.py"))


class ImpatientWorker(BoundedThreadWorker):
    """Gives a request two seconds."""

    request_limit_s = 2.0


worker_class = ImpatientWorker
workers = 1
threads = 1
