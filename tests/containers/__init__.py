"""Tests of the image and docker-compose.yml; `python -m tests.containers` needs a Docker engine."""
