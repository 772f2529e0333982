"""Authentication: API keys, and the last answers remembered for an outage."""
