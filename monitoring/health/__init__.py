"""Health: checks of every component, and the report made of them."""
