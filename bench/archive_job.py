"""The archive as a Flink job: the profile job's parsing and deduplication, then Flink's file sink for Parquet."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

from pyflink.table import StatementSet

from flink_jobs.profile_job import ProfileJob
from flink_jobs.settings import JobSettings, parse_settings


class ArchiveJob(ProfileJob):
    """The same flow up to the first record of each identity; then files."""

    def __init__(self, settings: JobSettings, folder: str) -> None:
        super().__init__(settings)
        self._folder = folder

    def plan(self) -> Iterator[StatementSet]:
        """Give the one statement."""
        self._records()
        self._parsed()
        self._applied()
        self._tables.execute_sql(f"""
            CREATE TABLE archive (
                user_id STRING, item_id STRING, action STRING, process_time DOUBLE, hit_flink BOOLEAN,
                timestamp_ms BIGINT, tags STRING, `year` STRING, `month` STRING, `day` STRING
            ) PARTITIONED BY (`year`, `month`, `day`) WITH (
                'connector' = 'filesystem',
                'path' = 'file://{self._folder}',
                'format' = 'parquet',
                'parquet.compression' = 'SNAPPY',
                'parquet.utc-timezone' = 'true'
            )""")
        moment = "TO_TIMESTAMP_LTZ(time_ms, 3)"
        actions = "CASE event_type WHEN 0 THEN 'click' WHEN 1 THEN 'cart' ELSE 'purchase' END"
        parts = ", ".join(f"DATE_FORMAT({moment}, '{each}')" for each in ("yyyy", "MM", "dd"))
        statements = self._tables.create_statement_set()
        statements.add_insert_sql(f"""
            INSERT INTO archive
            SELECT user_id, product_id, {actions}, time_ms / 1000.0, TRUE, time_ms, tags, {parts} FROM applied""")  # noqa: S608
        yield statements


if __name__ == "__main__":
    *arguments, given = sys.argv[1:]
    ArchiveJob(parse_settings(arguments, os.environ), given).submit()
