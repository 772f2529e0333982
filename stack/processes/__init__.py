"""Processes of `make up`: supervised, watched and stopped together.

- programs: the table of programs; supervisor runs it, migrate runs before the application.
- forking_supervisord: supervisor, whose application programs are forks that share its memory.
- hang_watchdog: ends programs that hang; log_tail shows what is serious in their logs.
- signals: turns Ctrl-C and the end of make into a stop.
- reaper: ends orphaned processes; locks keeps a second `make up` out.
"""
