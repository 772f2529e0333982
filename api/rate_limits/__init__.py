"""Rate limits: the limits, their counters in the cache or in memory, and their headers."""
