"""The streaming edge: events from Kafka, counted once, become profiles and statistics in Redis.

``profile_job.py`` is the flow, one statement an arrow; every other module is one step of it.
"""
