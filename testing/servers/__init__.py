"""Real servers for tests: started, broken and stopped."""
