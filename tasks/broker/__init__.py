"""Broker access: queue names, kicks and backpressure."""
