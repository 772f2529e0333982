"""Stores of prices: where refreshes keep them and where lookups find them.

cache           current prices and the state of the refreshes, shared by all processes
database        last known prices, used when the cache has none
guarded         reads a store that may hang
refresh_state   what a refresh knows of those before it
"""
