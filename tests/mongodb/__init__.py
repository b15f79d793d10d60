"""The catalogue out of MongoDB."""
