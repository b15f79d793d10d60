"""What the job was last submitted with: so changed settings reach a running job, and no state of another shape does."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from deploy.local.home import Home
from deploy.local.settings import Settings
from flink_jobs.settings import MOST_PRODUCTS_PER_USER, MOST_TAGS_PER_USER, RECENT_EVENTS, STATE_VERSION
from reccore.metadata_numbers import DURATIONS


@dataclass(frozen=True)
class Submission:
    """The job's own options, the shape of its state, and since when (epoch ns) its state has had that shape."""

    options: tuple[str, ...]
    shape: str
    shaped_since_ns: int


def state_shape(settings: Settings) -> str:
    """Describe what the shape of the job's state follows from.

    Each event type is a column of the counts, each topic is in the state of the source, and a state with an expiry
    holds a time beside each value, each metadata number is a sum. With another cap on tags or products the state would
    do, but it only writes one with its next event: counting anew writes all of them. So it is with the number of recent
    events.
    """
    expires = settings.handed_on.get("TAG_EXPIRY_SECONDS", "0") != "0"
    types = ",".join(f"{name}:{topic}" for topic, name in settings.event_types.by_topic.items())
    cap = settings.handed_on.get("MOST_TAGS_PER_USER", str(MOST_TAGS_PER_USER))
    recent = settings.handed_on.get("RECENT_EVENTS", str(RECENT_EVENTS))
    expiry = "with" if expires else "without"
    products = settings.handed_on.get("MOST_PRODUCTS_PER_USER", str(MOST_PRODUCTS_PER_USER))
    numbers = settings.handed_on.get("METADATA_NUMBERS", ",".join(DURATIONS.names))
    return (
        f"version {STATE_VERSION}, {types}, {expiry} expiry, {cap} tags, {products} products with {numbers}, "
        f"{recent} recent events"
    )


def shaped_since_ns(last: Submission | None, shape: str) -> int:
    """Return since when checkpoints have had this shape: with another than the last, all up to now are of no use."""
    if last is None:
        return 0
    return last.shaped_since_ns if last.shape == shape else time.time_ns()


def read_submission(home: Home) -> Submission | None:
    """Return the last one; None when there was none, or its file can't be read."""
    try:
        found = json.loads(_file(home).read_text())
        return Submission(tuple(found["options"]), found["shape"], int(found["shaped_since_ns"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_submission(home: Home, submission: Submission) -> None:
    """Keep what is about to be submitted."""
    _file(home).parent.mkdir(parents=True, exist_ok=True)
    draft = _file(home).with_suffix(".draft")
    draft.write_text(json.dumps(asdict(submission), indent=1) + "\n")
    draft.replace(_file(home))


def _file(home: Home) -> Path:
    return home.path / "job" / "submission.json"
