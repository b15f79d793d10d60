"""Ratings of Kafka, judged by the rule of follower and service, as rows of their archive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from reccore.errors import RejectedEvent
from reccore.ratings import Rating, parse_rating
from reweigh.archive.records import Records, batch_of
from reweigh.archive.schema import RATING_SCHEMA, RATINGS


@dataclass(slots=True)
class ParsedRatings:
    """A batch, a row a record: the rating, or None where it is in ``rejected``."""

    ratings: list[Rating | None] = field(default_factory=list)
    rejected: dict[int, RejectedEvent] = field(default_factory=dict)

    @property
    def event_ids(self) -> Sequence[str | None]:
        """The ids by which ratings are archived once."""
        return [None if each is None else each.event_id for each in self.ratings]


class RatingReader:
    """Reads batches of the topic of ratings; fulfils :class:`reweigh.archive.records.RecordReader`."""

    data_set = RATINGS

    def __init__(self, topic: str) -> None:
        self.topics = (topic,)

    def parse(self, records: Records) -> ParsedRatings:
        """Judge every record."""
        parsed = ParsedRatings()
        for place, (raw, arrived_ms) in enumerate(zip(records.values, records.arrived_ms, strict=True)):
            try:
                parsed.ratings.append(parse_rating(raw, record_time_ms=arrived_ms))
            except RejectedEvent as error:
                parsed.ratings.append(None)
                parsed.rejected[place] = error
        return parsed

    def rows(self, records: Records, parsed: ParsedRatings, kept: Sequence[int]) -> pa.RecordBatch:
        """Give the rows of ``kept``, places in the batch that hold valid ratings."""
        ratings = [each for place in kept if (each := parsed.ratings[place]) is not None]
        columns = {
            "user_id": [each.user_id for each in ratings],
            "item_id": [each.product_id for each in ratings],
            "rating": [each.rating for each in ratings],
            "process_time": [each.time_ms / 1000 for each in ratings],
            "event_id": [each.event_id for each in ratings],
            "timestamp_ms": [each.time_ms for each in ratings],
            **records.places(kept),
        }
        return batch_of(columns, RATING_SCHEMA)
