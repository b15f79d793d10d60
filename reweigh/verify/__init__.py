"""`reweigh verify`: counts the events in Kafka anew and compares every field in Redis with the result.

Nothing of what counts here is shared with the job: records are read by SQL in DuckDB (``plain``) or, where they are
odd, by a reader of its own (``careful``), and counted by SQL (``recount``). An error would have to be made twice.
"""
