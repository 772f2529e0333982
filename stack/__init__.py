"""The local stack: what `make up` starts on one machine, and the servers that tests borrow.

- up: `make up` from start to stop; plan decides first what will run.
- launcher: becomes a program that ends with its parent.
- servers/: PostgreSQL and Valkey of our own, or servers whose URLs are given.
- processes/: supervises, watches and stops what runs.
- demo/: a client, wallets with money, and a fake Binance.
- bootstrap/: makes the virtual environment.
- psql: `make psql`.

Production does not use it: the programs themselves are in `runtime/`.
"""
