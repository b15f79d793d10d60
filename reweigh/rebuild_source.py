"""What a rebuild reads: the complete log in Kafka; :mod:`reweigh.archive_and_log` is the other kind."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from reccore.job import REPLAY_JOB_NAME
from reweigh.progress import Tell
from reweigh.topics import Topics
from reweigh.verify.log import EventLog, Offsets

PREFIX: Final = "archived-"
"""What the names of topics begin with that were made for a rebuild; its consumer group and a topic's name follow."""
_OF_A_REBUILD: Final = re.compile(rf"{PREFIX}{REPLAY_JOB_NAME}-\d+-")
"""A shop's own topic may begin with the prefix alone."""


class RebuildSource:
    """The log, with nothing in place of what it lacks. Raises :class:`CommandError` for what Kafka does not do.

    Attributes:
        log: The event topics.
        reading: All topics that the second job reads.
        is_live: Whether the second job goes on as the live one; to be set as soon as it can't be undone.
    """

    is_live = False

    def __init__(self, bootstrap: str, topics: Sequence[str], admin: Topics, from_ms: int = 0) -> None:
        self._admin, self._from_ms = admin, from_ms
        self.log = self.reading = EventLog(bootstrap, topics)

    def refuse_unless_complete(self) -> None:
        """See that no record is gone, unless only a part is wanted."""
        if not self._from_ms:
            self.log.refuse_unless_complete()

    def prepare(self, tell: Tell) -> tuple[str, ...]:  # noqa: ARG002 (here there is nothing to do)
        """Make ready what the second job reads, and give its options for that."""
        return ("--start-from-ms", str(self._from_ms))

    def records(self) -> int:
        """Count the records that there are for the second job by now."""
        return total(self.reading.ends()) - total(self.reading.begins())

    def is_covered(self, group: str, ends: Offsets) -> bool:
        """Whether a group has committed all records up to these ends."""
        committed = self.reading.committed(group)
        gap = {place: upto for place, upto in ends.items() if committed.get(place, 0) < upto}
        return not gap or not self.reading.has_records(committed, gap)

    def end(self) -> None:
        """Let go of what nobody needs any more: where this one is live, also of what the one before has left."""
        if self.is_live:
            self._admin.delete([name for name in self._admin.names() if self._is_left_over(name)])

    def _is_left_over(self, topic: str) -> bool:
        return _OF_A_REBUILD.match(topic) is not None


def total(offsets: Offsets) -> int:
    """Add up offsets."""
    return sum(offsets.values())
