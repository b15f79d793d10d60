"""The rules that the job, the service and the command line share.

Nothing in here does I/O, reads a clock or draws a random number, and nothing but the standard library is imported:
a rule takes state, event, weights and ``now`` and returns the new value, so that every edge computes the same thing.
"""
