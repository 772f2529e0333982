"""Programs for people who do not trust this project: each needs Python alone."""
