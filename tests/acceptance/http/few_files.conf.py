# ruff: noqa: N999 - the name tells gunicorn that this is a file and no module
"""Gunicorn configuration of the API where the system allows a process few open files."""

import os
import resource
import runpy

_allowed = int(os.environ["ALLOWED_FILES"])
resource.setrlimit(resource.RLIMIT_NOFILE, (_allowed, _allowed))
globals().update(runpy.run_path("api/gunicorn.conf.py"))
workers = 1
