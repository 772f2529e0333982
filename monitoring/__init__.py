"""Monitoring: health, heartbeats, logs, metrics and Sentry, without disturbing what it watches.

logs         structured logs                    redaction    removes secrets from a text
job_runs     last run of each scan, in the cache
health/      report, checks, server readings, database breaker
heartbeats/  signs of life in files and in the cache
metrics/     what the processes count, in crash-safe files
sentry/      errors, traces and check-ins, if there is a DSN

Guarantees that every check is limited in time. Must not know Flask or money.
"""
