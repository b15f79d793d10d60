"""Topics that are followed into Redis."""
