"""Servers of the stack: PostgreSQL and Valkey of our own, or servers whose URLs are given.

- own: our servers with their ports and passwords; postgres and valkey define each.
- external: servers that are given by URL.
- server: what all servers offer, and how one is started.
- home: the folders of our servers and the operating-system user they run as; os_account: that user.
- kept_values: passwords and ports kept between runs; ports finds free ones.
"""
