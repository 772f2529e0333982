# ruff: noqa: N999 - gunicorn's usual name for this file; it is not imported as a module
"""Settings of gunicorn: `gunicorn -c api/gunicorn.conf.py wsgi:app`."""

import gc
import resource
import sys
from pathlib import Path

from gunicorn.arbiter import Arbiter

from api.gunicorn_options import QuietLogger, unsupported
from api.gunicorn_request import MAX_FIELD_LINE, MAX_FIELDS, MAX_REQUEST_LINE
from api.gunicorn_worker import BoundedThreadWorker
from api.transfers.settlement_wait import SLOTS
from ledger.errors import Misconfigured, Refused
from ledger.postgres.installation import refuse_other_installation
from monitoring.database_start import check_database
from monitoring.logs import logging_config
from monitoring.metrics import catalogue
from settings import Settings, SettingsError

_settings = Settings.from_environment()
_shared_memory = Path("/dev/shm")  # noqa: S108 - where there is one, heartbeats cost no disk

# An IPv6 address has colons of its own.
_host = f"[{_settings.host}]" if ":" in _settings.host else _settings.host
bind = f"{_host}:{_settings.port}"

# A process for each core, two by default. Threads mostly wait, for the database or for a
# transfer to end.
worker_class = BoundedThreadWorker
workers = _settings.api_processes
preload_app = True  # they share its memory; it connects to nothing before the fork
threads = SLOTS + 8  # when all slots for waiting are taken, these keep answering
worker_connections = 1000
backlog = 1024
sendfile = False  # a thread would wait until the client has taken the file

# Each connection takes a file. Many systems allow a process 1,024 unless it asks for more.
_files, _most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
_wanted_files = worker_connections + 512
if resource.RLIM_INFINITY != _files < _wanted_files:
    if resource.RLIM_INFINITY != _most_files < _wanted_files:
        _wanted_files = _most_files
        worker_connections = max(_wanted_files - 512, threads + 1)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_wanted_files, _most_files))

# Longer than a balancer keeps its connections: else it sends a request into one just closed.
keepalive = _settings.keep_alive_s
timeout = 30
graceful_timeout = 25  # longer than the longest wait that a client may prefer

# RequestReader applies these limits and names the field; gunicorn's parsers repeat them. They
# count a colon, a blank and the line's end too.
limit_request_line = MAX_REQUEST_LINE
limit_request_fields = MAX_FIELDS
limit_request_field_size = MAX_FIELD_LINE + 4

# No header is believed because of the address it comes from. By default gunicorn takes
# SCRIPT_NAME and X-Forwarded-Proto from loopback, where a proxy or any local user may be.
forwarded_allow_ips = ""
forwarder_headers = ""
secure_scheme_headers: dict[str, str] = {}

worker_tmp_dir = str(_shared_memory) if _shared_memory.is_dir() else None
control_socket_disable = True  # it would open a socket in the home folder

logger_class = QuietLogger
logconfig_dict = logging_config(_settings.log_level)


def on_starting(server: Arbiter) -> None:
    """Refuse what cannot work, and open the metrics, before the first process is forked."""
    if reason := unsupported(server.cfg):
        sys.exit(f"The API cannot start: {reason}.")
    try:
        refuse_other_installation(_settings.database_url, _settings.installation_id)
        check_database(_settings)
    except (SettingsError, Misconfigured, Refused) as error:
        sys.exit(f"api: {error}")
    catalogue.begin("api", _settings.data_dir, catalogue.OF_THE_API)


def when_ready(_server: Arbiter) -> None:
    """Keep the garbage collector of each process away from memory that all of them share.

    It writes into every object that it looks at, and each process would get a copy of its own.
    """
    gc.collect()
    gc.freeze()
