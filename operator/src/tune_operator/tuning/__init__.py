"""Which configurations trials get and which trials run: pure, with JSON state."""
