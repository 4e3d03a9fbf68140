"""What answers say: pure functions and records, from rows of a store to numbers."""
