"""The archive: every accepted event once, in Parquet, by event-time day.

Records go ``source`` ─▶ ``events`` (judged by the project's parser) ─▶ ``writer`` (each event once, by ``index``) ─▶
``log`` (commits) ─▶ ``store`` (local, or whatever fsspec reaches). ``run`` drives them, ``reading`` gives events back.
"""

from reweigh.archive.reading import read_partition

__all__ = ["read_partition"]
