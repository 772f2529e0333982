"""The Celery tasks: each decodes its message, calls one ledger function, and says what is next.

The broker carries hints only. A message that is lost, doubled, late or out of order changes
nothing: the database's state decides, and the recovery scan finds what stands still.
"""
