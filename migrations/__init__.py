"""The schema's history, for Alembic; the rules of the ledger as the database keeps them."""
