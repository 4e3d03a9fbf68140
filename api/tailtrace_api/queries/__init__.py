"""What is asked of a store for each answer."""
