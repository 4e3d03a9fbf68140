"""Who stands behind an address."""
