"""Price stores: cache and database, each guarded against hanging."""
