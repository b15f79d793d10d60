"""The archive: every accepted event, and apart from them every rating, once, in Parquet, by event-time day.

Records go ``source`` ─▶ ``events`` or ``ratings`` (judged by the project's rules) ─▶ ``writer`` (each once, by
``index``) ─▶ ``log`` (commits) ─▶ ``store`` (local, or whatever fsspec reaches). ``run`` drives them, ``reading``
gives back what was archived.
"""

from reweigh.archive.reading import read_partition

__all__ = ["read_partition"]
