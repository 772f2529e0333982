"""The schedule: what is looked after, and how often."""
