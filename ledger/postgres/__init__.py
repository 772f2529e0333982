"""PostgreSQL access: tables, engine, several hosts, rows in bulk."""
