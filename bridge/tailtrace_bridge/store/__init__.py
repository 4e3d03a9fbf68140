"""The store: `protocol` says what one can do, `sqlite` is the default that does it."""
