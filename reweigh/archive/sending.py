"""`reweigh archive send`: the events of an archive into a Kafka that has lost them, as the events that they are."""

from __future__ import annotations

from collections import Counter
from typing import Final

import duckdb
import pyarrow as pa

from reccore.access import KafkaAccess
from reccore.event_types import EventTypes
from reweigh.archive.as_records import EVENT, EVENT_COLUMNS, selected
from reweigh.archive.errors import ArchiveError
from reweigh.archive.log import Log
from reweigh.archive.store import Store
from reweigh.kafka import EventProducer, check_topics
from reweigh.progress import Tell
from reweigh.topic_source import cluster_id

_COLUMNS: Final = (*EVENT_COLUMNS, "topic", "partition", "offset")
# Without an id of its own an event gets one made of its place, the same each time.
_AS_RECORDS: Final = f"""
WITH with_id AS (
    SELECT * REPLACE (
        coalesce(event_id, 'archived-' || md5(concat_ws(':', cluster, topic, "partition", "offset"))) AS event_id
    ) FROM archived, kafka
)
SELECT event_type, encode(user_id) AS key, encode({EVENT}) AS value FROM with_id
"""  # noqa: S608 (constants)


def send_events(
    store: Store, bootstrap: str, event_types: EventTypes, access: KafkaAccess, tell: Tell
) -> tuple[Counter[str], Counter[str]]:
    """Send every event to the topic of its type, keyed by user; give those sent and those left out, by type.

    Left out are those of a type that is not configured. Raises :class:`ArchiveError` for an archive of this very Kafka,
    and :class:`~reweigh.errors.CommandError` when a record isn't acknowledged.
    """
    snapshot = Log(store).read()
    assert snapshot.last is not None  # noqa: S101 - the command has seen one
    if snapshot.last.cluster == cluster_id(bootstrap, access.librdkafka_options()):
        raise ArchiveError(
            f"the archive in {store.url} is of this Kafka, which has had these events: sent again, old ones would "
            "count twice. `reweigh replay --from archive` counts them anew"
        )
    check_topics(bootstrap, event_types.by_topic, access=access)
    topics, sent, left_out = event_types.topics, Counter[str](), Counter[str]()
    total = sum(file.rows for file in snapshot.files.values())
    producer = EventProducer(bootstrap, access=access)
    with duckdb.connect() as database:
        database.register("kafka", pa.table({"cluster": [snapshot.last.cluster]}))
        for table in selected(store, snapshot, database, _COLUMNS, _AS_RECORDS):
            for event_type, key, value in zip(*(column.to_pylist() for column in table.columns), strict=True):
                topic = topics.get(event_type)
                if topic is None:
                    left_out[event_type] += 1
                else:
                    producer.send(topic, key, value)
                    sent[event_type] += 1
            tell("archived events sent", sent.total() + left_out.total(), total)
    producer.close()
    return sent, left_out
