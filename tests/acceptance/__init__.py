"""Tests of real processes over HTTP: API, workers, beat, Flower and Sentry, without faults."""
