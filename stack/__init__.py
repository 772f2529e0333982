"""The local stack: what `make up` runs and what tests borrow their servers from."""
