"""Tests of the repository: links, log events, versions, dependencies and licences."""
