"""OpenAPI document: the contract in a form that programs read.

Guarantees that request schemas come from the models that check requests. Tests check the rest:
every route is described, and real answers match their schemas.
"""
