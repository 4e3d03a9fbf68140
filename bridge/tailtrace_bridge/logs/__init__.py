"""From log files to `Access` records."""
