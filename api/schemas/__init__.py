"""Schemas of the contract: models that check requests, and TypedDicts that describe answers.

Guarantees that an answer is described once: mypy checks the dictionaries that are sent against
their TypedDict, and the OpenAPI document is made from it. Answers are not checked again at run
time. Imports nothing else of `api/`, so that every part of it can use these.
"""
