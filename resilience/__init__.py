"""Mechanisms against failure, which know neither money nor HTTP nor which servers there are.

background_thread   a daemon thread that starts when needed, and starts again
single_flight       one call at a time, whose result all callers share
cooldown            leaves a failing server alone for a while
outage_log          logs the start and the end of an outage
redis_client        Redis clients with a time-out and no retries
event_log, forks    the logger interface, and what an object does after a fork

The caller passes the logger.
"""
