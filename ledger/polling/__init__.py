"""Lists for pollers: an order in which nothing appears before a place already passed."""
