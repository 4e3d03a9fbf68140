"""Whole logs and exports in, rows out."""
