"""What every room shares: records, errors, columns, text."""
