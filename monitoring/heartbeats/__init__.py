"""Heartbeats: signs of life of workers and beat, in files and in the cache.

emitter          sends the heartbeats of one process, from its own loop
heartbeat_cache  which processes are alive anywhere
heartbeat_files  which processes of this machine are not stuck
liveness         command line for liveness probes
"""
