"""API keys of clients: finding the client of one, making and ending them, the admins' own."""
