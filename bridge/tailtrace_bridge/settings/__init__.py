"""The one table of settings."""
