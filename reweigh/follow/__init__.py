"""Topics that are tables, followed into Redis."""
