"""Recommendations computed ahead: everybody's lists, sent to a topic."""
