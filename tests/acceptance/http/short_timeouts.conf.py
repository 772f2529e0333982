# ruff: noqa: N999 - the name by which gunicorn is told apart from a module of ours
"""The API's own server, with one thread and little patience, so that tests need little too."""

import runpy

from api.gunicorn_worker import BoundedThreadWorker

globals().update(runpy.run_path("api/gunicorn.conf.py"))


class ImpatientWorker(BoundedThreadWorker):
    """Gives a request two seconds."""

    request_limit_s = 2.0


worker_class = ImpatientWorker
workers = 1
threads = 1
