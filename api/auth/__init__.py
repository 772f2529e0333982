"""Authentication: finds the client of an API key, and remembers clients for an outage."""
