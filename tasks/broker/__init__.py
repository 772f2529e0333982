"""Use of the broker: its queues, kicks for workers, and whether it has room for new work.

- queues: their names, which task goes where, and how many messages wait.
- producer: repeats a publication as a whole when its connection breaks.
- kick: tells workers that transfers were accepted.
- backpressure: reads the broker's memory and says when to refuse new work.
"""
