"""Topics that are tables."""
