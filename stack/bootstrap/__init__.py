"""Bootstrap: makes the virtual environment before anything is installed.

- python.sh: finds a Python that is new enough.
- environment: makes `.venv` and installs the pinned requirements.
"""
