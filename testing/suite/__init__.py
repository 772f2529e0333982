"""Plugins of pytest that run the suite in several processes, balanced by recorded durations.

- units: what one process gets at a time.
- lanes: runs units in several processes side by side.
- durations: how long each unit took, as recorded in durations.json.
- left_out: skips tests whose program is not installed.
- storms: leaves out tests that last minutes, unless they are asked for.
"""
