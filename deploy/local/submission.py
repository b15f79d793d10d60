"""What the job was last submitted with: so changed settings reach a running job, and no state of another shape does."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from deploy.local.home import Home
from deploy.local.settings import Settings
from flink_jobs.settings import STATE_VERSION


@dataclass(frozen=True)
class Submission:
    """The job's own options, the shape of its state, and since when (epoch ns) its state has had that shape."""

    options: tuple[str, ...]
    shape: str
    shaped_since_ns: int

    def with_options(self, options: Sequence[str], shape: str) -> Submission:
        """Give what follows this one; with another shape of the state, checkpoints up to now are of no use."""
        since = self.shaped_since_ns if shape == self.shape else time.time_ns()
        return replace(self, options=tuple(options), shape=shape, shaped_since_ns=since)


def state_shape(settings: Settings) -> str:
    """Describe what the shape of the job's state follows from.

    Each event type is a column of the counts, each topic is in the state of the source, and a state with an expiry
    holds a time beside each value.
    """
    expires = settings.handed_on.get("TAG_EXPIRY_SECONDS", "0") != "0"
    types = ",".join(f"{name}:{topic}" for topic, name in settings.event_types.by_topic.items())
    return f"version {STATE_VERSION}, {types}, {'with' if expires else 'without'} expiry"


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
