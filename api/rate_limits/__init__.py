"""Rate limits: one check for all of them, counters in the cache or in memory, and headers."""
