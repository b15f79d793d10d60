"""The profile job: three topics of events in, profiles and statistics in Redis out.

::

    Kafka ─▶ parse ─┬▶ dead letters ─▶ Kafka
                    ├▶ totals of what was read ────────────────────────────────────────▶ Redis: totals
                    └▶ events ─▶ first of each identity ─┬▶ counts of everything else ─▶ Redis: statistics, totals
                                                         ▼
                          number among the user's events ─┬▶ counts by user and tag ─▶ score ─▶ Redis: profiles
                                                          └▶ the event itself ────────────────▶ Redis: recent events

Everything between the two ends is SQL, which runs in the JVM; Python parses and writes a batch at a time.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping

from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import DataTypes, StatementSet, StreamTableEnvironment, Table
from pyflink.table.udf import ScalarFunction, udf

from flink_jobs.flink_options import flink_options
from flink_jobs.kafka_options import access_options
from flink_jobs.parse_function import ParseRecords, parsed_row
from flink_jobs.recent_events import WriteRecentEvents
from flink_jobs.settings import JobSettings, parse_settings
from flink_jobs.tasks import begin_task
from flink_jobs.writers import ITEM, PRODUCT, TOTAL, WriteProfiles, WriteStatistics, WriteTotals
from reccore.event_types import PURCHASE
from reccore.metadata_numbers import ABSENT
from reccore.tag_list import SEPARATOR
from reccore.totals import APPLIED_PREFIX, DEAD_PREFIX, READ_PREFIX, UNTAGGED


def main() -> None:
    """Submit the job; ``flink run`` calls this."""
    settings = parse_settings(sys.argv[1:], os.environ)
    ProfileJob(settings).submit()


class ProfileJob:
    """The flow, one method an arrow of the picture above."""

    def __init__(self, settings: JobSettings, further_options: Mapping[str, str] | None = None) -> None:
        self._settings = settings
        self._types = settings.event_types
        configuration = Configuration()
        for key, value in {**flink_options(settings), **(further_options or {})}.items():
            configuration.set_string(key, value)
        self._environment = StreamExecutionEnvironment.get_execution_environment(configuration)
        self._tables = StreamTableEnvironment.create(self._environment)

    def submit(self) -> None:
        """Plan the whole job and hand it to the cluster."""
        for statements in self.plan():
            statements.attach_as_datastream()
        self._environment.execute(self._settings.job_name)

    def plan(self) -> Iterator[StatementSet]:
        """Give the statements in two sets; each is to be attached before the next is asked for.

        Profiles are what has to be fresh. Statistics are gathered for longer, which makes them many times cheaper.
        """
        self._records()  #    value, topic, partition, offset, time
        self._parsed()  #     parsed_row
        self._applied()  #    event_type, user_id, product_id, time_ms, tags, whence, metadata; once per identity
        self._numbered()  #   the same, and number: how many events of the user have come
        recent = [self._recent_events()] if self._settings.recent_events else []
        yield self._statements(self._settings.mini_batch_ms, self._dead_letters(), self._profiles(), *recent)
        begin_task(self._environment, "write_profiles")  # while counting goes on
        if self._settings.recent_events:
            begin_task(self._environment, "write_recent_events")  # while numbering goes on
        yield self._statements(self._settings.statistics_ms, self._statistics(), self._read_totals())

    def _statements(self, gathered_for_ms: int, *inserts: str) -> StatementSet:
        """Put statements into one set that gathers rows so long before it counts them, and keeps counts for ever.

        Deduplication is planned before, with its own lifetime, and without mini-batches, which would make it emit
        retractions.
        """
        options = self._tables.get_config()
        options.set("table.exec.state.ttl", "0 ms")
        options.set("table.exec.mini-batch.enabled", "true")
        options.set("table.exec.mini-batch.allow-latency", f"{gathered_for_ms} ms")
        options.set("table.exec.mini-batch.size", str(self._settings.mini_batch_rows))
        statements = self._tables.create_statement_set()
        for insert in inserts:
            statements.add_insert_sql(insert)
        return statements

    def _records(self) -> None:
        access = access_options(self._settings.kafka_access, self._settings.kafka_ca_certificates)
        self._tables.execute_sql(f"""
            CREATE TABLE records (
                `value` BYTES,
                `topic` STRING METADATA VIRTUAL,
                `partition` INT METADATA VIRTUAL,
                `offset` BIGINT METADATA VIRTUAL,
                `timestamp` TIMESTAMP_LTZ(3) METADATA VIRTUAL
            ) WITH (
                'connector' = 'kafka',
                'topic' = '{";".join(self._topics())}',
                'properties.bootstrap.servers' = '{self._settings.kafka_bootstrap}',
                {access}'properties.group.id' = '{self._settings.group_id}',
                {_startup(self._settings)},
                'scan.topic-partition-discovery.interval' = '5 s',
                'value.format' = 'raw'
            )""")
        self._tables.execute_sql(f"""
            CREATE TABLE dead_letters (`key` STRING, `letter` STRING) WITH (
                'connector' = 'kafka',
                'topic' = '{self._types.dead_letter_topic}',
                'properties.bootstrap.servers' = '{self._settings.kafka_bootstrap}',
                {access}'properties.max.request.size' = '4194304',
                'properties.acks' = 'all',
                'key.format' = 'raw',
                'key.fields' = 'key',
                'value.format' = 'raw',
                'value.fields-include' = 'EXCEPT_KEY',
                'sink.delivery-guarantee' = 'at-least-once'
            )""")
        self._tables.execute_sql("CREATE TABLE written (`written` TINYINT) WITH ('connector' = 'blackhole')")

    def _topics(self) -> list[str]:
        prefix = self._settings.archived_prefix
        return [*self._types.by_topic, *(f"{prefix}{topic}" for topic in self._types.by_topic if prefix)]

    def _parsed(self) -> None:
        row = parsed_row(len(self._settings.summed_numbers))
        parse = udf(ParseRecords(self._settings), result_type=row, func_type="pandas")
        self._tables.create_temporary_system_function("parse_record", parse)
        parsed = self._tables.sql_query(f"""
            SELECT r.event_type, r.`identity`, r.user_id, r.product_id, r.time_ms, r.tags,
                   r.reason, r.letter_key, r.letter, r.`partition`, r.`offset`, r.awaited{self._metadata("r.")}
            FROM (SELECT parse_record(`value`, `topic`, `partition`, `offset`, CAST(`timestamp` AS TIMESTAMP(3))) AS r
                  FROM records)""")
        self._cut("parsed", parsed, with_proctime=True)

    def _applied(self) -> None:
        first = self._tables.sql_query(f"""
            SELECT event_type, user_id, product_id, time_ms, tags, `partition`, `offset`, awaited{self._metadata()}
            FROM (
                SELECT *, ROW_NUMBER() OVER (PARTITION BY `identity` ORDER BY arrival) AS turn
                FROM parsed WHERE reason IS NULL
            ) WHERE turn = 1""")
        self._cut("applied", first, with_proctime=True)

    def _numbered(self) -> None:
        """Number each user's events as they come, in one place a user, whose order all that follows keeps.

        So a count of events up to some number is known to hold all of them, however many subtasks there are.
        """
        if not self._settings.recent_events:
            return
        self._tables.get_config().set("table.exec.state.ttl", "0 ms")  # numbers never begin anew
        numbered = self._tables.sql_query(f"""
            SELECT event_type, user_id, product_id, time_ms, tags, `partition`, `offset`, awaited{self._metadata()},
                   COUNT(*) OVER (PARTITION BY user_id ORDER BY arrival
                                  ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS number
            FROM applied""")
        self._cut("numbered", numbered)

    def _cut(self, name: str, table: Table, *, with_proctime: bool = False) -> None:
        """Name ``table`` as a view that is planned once, however many statements read it.

        The planner treats what comes back from a data stream as a source, so it neither computes the part before it
        twice nor reaches into it. The rows don't leave the JVM.
        """
        view = self._tables.from_data_stream(self._tables.to_data_stream(table))
        self._tables.create_temporary_view(name, view)
        if with_proctime:
            arrival = self._tables.sql_query(f"SELECT *, PROCTIME() AS arrival FROM {name}")
            self._tables.drop_temporary_view(name)
            self._tables.create_temporary_view(name, arrival)

    def _dead_letters(self) -> str:
        return "INSERT INTO dead_letters SELECT letter_key, letter FROM parsed WHERE letter IS NOT NULL"

    def _profiles(self) -> str:
        """Count by user and tag, and by user and product."""
        item = f"CONCAT('{ITEM}', product_id)"
        if not self._settings.most_products_per_user:  # only whether it was bought
            item = f"CASE WHEN event_type = {self._types.names.index(PURCHASE)} THEN {item} END"
        self._register("write_profiles", WriteProfiles(self._settings))
        events, names, counts = "applied", self._count_names(), self._counts()
        if self._settings.recent_events:
            events, names, counts = "numbered", f"{names}, highest", f"{counts}, MAX(number) AS highest"
        for number in range(len(self._settings.summed_numbers)):
            value = f"metadata_{number}"
            names += f", sum_{number}, with_{number}"
            counts += f", SUM(CASE WHEN {value} = {ABSENT} THEN 0 ELSE {value} END) AS sum_{number}"
            counts += f", COUNT(*) FILTER (WHERE {value} <> {ABSENT}) AS with_{number}"
        return f"""
            INSERT INTO written
            SELECT write_profiles(user_id, tag, newest_ms, {names}) FROM (
                SELECT {self._expiry_hint()} user_id, tag, MAX(time_ms) AS newest_ms, {counts}
                FROM {_a_row_each(events, "tag", "tags", item)} AS tagged GROUP BY user_id, tag)"""

    def _recent_events(self) -> str:
        self._register("write_recent_events", WriteRecentEvents(self._settings))
        return """
            INSERT INTO written
            SELECT write_recent_events(user_id, number, time_ms, event_type, `partition`, `offset`, product_id,
                                       CASE WHEN awaited THEN COALESCE(tags, '') END)
            FROM numbered"""

    def _expiry_hint(self) -> str:
        seconds = self._settings.tag_expiry_seconds
        return f"/*+ STATE_TTL('tagged' = '{seconds}s') */" if seconds else ""

    def _statistics(self) -> str:
        """Count everything else that an event counts for: one aggregate, since each has its price in calls."""
        product = f"CONCAT('{PRODUCT}', product_id)"
        applied = self._case(TOTAL + APPLIED_PREFIX, self._types.names)
        untagged = f"CASE WHEN tags IS NULL THEN '{TOTAL}{UNTAGGED}' END"
        self._register("write_statistics", WriteStatistics(self._settings))
        return f"""
            INSERT INTO written
            SELECT write_statistics(key, tags, newest_ms, {self._count_names()}) FROM (
                SELECT key, MAX(CASE WHEN LEFT(key, {len(PRODUCT)}) = '{PRODUCT}' THEN tags END) AS tags,
                       MAX(time_ms) AS newest_ms, {self._counts()}
                FROM {_a_row_each("applied", "key", "tags", product, applied, untagged)} GROUP BY key)"""

    def _read_totals(self) -> str:
        """Count what is known of a record before it is known whether its event is new."""
        read = self._case(READ_PREFIX, tuple(self._types.by_topic))
        dead = f"CONCAT('{DEAD_PREFIX}', reason)"
        self._register("write_totals", WriteTotals(self._settings))
        return f"""
            INSERT INTO written
            SELECT write_totals(name, total) FROM (
                SELECT name, COUNT(*) AS total FROM {_a_row_each("parsed", "name", read, dead)} GROUP BY name)"""

    def _case(self, prefix: str, names: tuple[str, ...]) -> str:
        whens = " ".join(f"WHEN {code} THEN '{prefix}{name}'" for code, name in enumerate(names))
        return f"CASE event_type {whens} END"

    def _register(self, name: str, function: ScalarFunction) -> None:
        writer = udf(function, result_type=DataTypes.TINYINT(), func_type="pandas")
        self._tables.create_temporary_system_function(name, writer)

    def _metadata(self, of: str = "") -> str:
        return "".join(f", {of}metadata_{number}" for number in range(len(self._settings.summed_numbers)))

    def _count_names(self) -> str:
        return ", ".join(f"c{code}" for code in range(len(self._types.types)))

    def _counts(self) -> str:
        counts = (f"COUNT(*) FILTER (WHERE event_type = {code}) AS c{code}" for code in range(len(self._types.types)))
        return ", ".join(counts)


def _a_row_each(table: str, name: str, *texts: str) -> str:
    """Give ``table`` with a row for each part of ``texts``, joined lists or single ones, as column ``name``.

    A UNION ALL would be the usual way; but what follows a union can't be chained to what is before it, so that each row
    would be serialized on the way.
    """
    return f"""(
        SELECT * FROM (SELECT *, CONCAT_WS('{SEPARATOR}', {", ".join(texts)}) AS joined FROM {table})
        CROSS JOIN UNNEST(SPLIT(joined, '{SEPARATOR}')) AS part ({name}) WHERE joined <> '')"""


def _startup(settings: JobSettings) -> str:
    if settings.archived_prefix:
        return "'scan.startup.mode' = 'group-offsets', 'properties.auto.offset.reset' = 'earliest'"
    if settings.start_from_ms:
        return f"'scan.startup.mode' = 'timestamp', 'scan.startup.timestamp-millis' = '{settings.start_from_ms}'"
    return "'scan.startup.mode' = 'earliest-offset'"


if __name__ == "__main__":
    main()
