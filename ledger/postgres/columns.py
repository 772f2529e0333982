"""Columns: the types that the tables share, and the metadata that collects the tables."""

from __future__ import annotations

from sqlalchemy import DateTime, MetaData, Numeric

metadata = MetaData()

TimestampColumn = DateTime(timezone=True)
MinorUnits = Numeric(38, 0)
