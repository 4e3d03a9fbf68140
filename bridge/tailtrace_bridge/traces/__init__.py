"""Kept traces: which requests, their spans until then, and how they are packed."""
