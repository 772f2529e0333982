"""The schedule of the scans, and the scheduler that sends them.

How a scan comes to run: beat sends the entries of `schedule` through `scheduler`, a scans worker
takes them and runs the task of that name (`tasks.recovery` for the recovery scan), and the task
calls the ledger (`ledger.recovery`).
"""
