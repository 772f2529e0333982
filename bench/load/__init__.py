"""Load: submits transfers over HTTP as fast as they are answered, from a process of its own.

plan       one load: connections, batch size, wallets, seconds
generator  our own generator, which needs the standard library alone
submit.lua the same load for wrk, where the machine has it
measured   runs either, and reads its result
"""
