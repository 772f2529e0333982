"""Database migrations, for Alembic: the tables, and the ledger's rules as constraints."""
