"""The target of a measurement: a whole Truepenny, as `make up` of any checkout starts it.

running_stack  starts it on data of its own, and stops it
accounts       a client and its wallets, made over HTTP
processes      CPU time and memory of its processes, by program
settled        what the database says about transfers that have ended
"""
