"""The core without I/O: what to send, how long to pause, and what an answer means.

- exchange: one call with its attempts, as a plan that a driver carries out.
- judgement: what one answer says about the request.
- actions, calls, session, pauses, brake: what these are made of.
"""
