"""The two faces of the client: `blocking` and `asynchronous`, over the same calls.

- drivers, http: carry out plans over HTTP, and are all that does I/O.
- methods: makes methods of calls.
- blocking, asynchronous: the resources, as methods that a program calls.
"""
