"""What tells people how Truepenny is doing: health, heartbeats and logs.

Guarantees that watching never harms what is watched: every look is bounded in time.
Knows nothing of Flask or of money.
"""
