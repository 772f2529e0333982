"""The target of a measurement: a whole Truepenny, as `make up` of any version starts it.

code           the code of a version
running_stack  starts it on data of its own, and stops it
accounts       a client and its wallets, made over HTTP
history        fills the ledger with settled transfers
processes      CPU time and memory of its processes, by program
books          what the database says about transfers, and its size
parts          where the time of a transfer goes, from its metrics
pgbench        the speed of PostgreSQL itself on the same server
"""
