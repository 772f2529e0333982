"""Bootstrap: makes the virtual environment before anything is installed."""
