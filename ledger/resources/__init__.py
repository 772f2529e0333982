"""Resources other than transfers: one per idempotency key, and changes of their description."""
