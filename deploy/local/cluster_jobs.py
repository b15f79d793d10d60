"""The profile job as the JobManager knows it: which there are, whether one is to be submitted, ending it."""

from __future__ import annotations

import enum
import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deploy.local.errors import StackError
from deploy.local.server import get_json
from reccore.job import JOB_NAME

_ENDED = frozenset({"FAILED", "CANCELED", "FINISHED", "SUSPENDED"})


class Step(enum.Enum):
    """What is to be done about the job."""

    NOTHING = "it exists"
    WAIT = "the cluster is not ready"
    SUBMIT = "there is none"


@dataclass(frozen=True)
class JobState:
    """A job as the JobManager lists it: id, state, start in epoch ms, and how many of its vertices are running."""

    identity: str
    state: str
    started_ms: int
    vertices: int
    running: int

    @property
    def exists(self) -> bool:
        """Whether it runs or will run again by itself, so that a second one must not be started."""
        return self.state not in _ENDED

    @property
    def is_running(self) -> bool:
        """Whether every vertex is running."""
        return self.state == "RUNNING" and self.vertices > 0 and self.running == self.vertices


def list_jobs(rest: str, name: str = JOB_NAME) -> list[JobState] | None:
    """Return all jobs of that name, the newest first; None when the JobManager does not answer."""
    answer = get_json(f"{rest}/jobs/overview")
    if answer is None:
        return None
    return sorted(
        (_job_state(item) for item in answer["jobs"] if item["name"] == name),
        key=lambda job: (job.exists, job.started_ms),
        reverse=True,
    )


def next_step(jobs: list[JobState] | None, free_slots: int, parallelism: int) -> Step:
    """Decide whether the job has to be submitted: only when it is certain that there is none and that it can run."""
    if jobs is None:
        return Step.WAIT
    if any(job.exists for job in jobs):
        return Step.NOTHING
    return Step.SUBMIT if free_slots >= parallelism else Step.WAIT


def free_slots(rest: str) -> int:
    """Return the number of free slots, 0 when the JobManager does not answer."""
    overview = get_json(f"{rest}/overview")
    return int(overview["slots-available"]) if overview else 0


def stop_running(rest: str, patience_seconds: float, name: str = JOB_NAME, folder: Path | None = None) -> Path | None:
    """Stop the job with a savepoint, whose folder is returned; None when there was no job.

    The savepoint goes into `folder`, by default where the cluster's configuration says.

    Raises:
        StackError: The savepoint was not completed.
    """
    jobs = [job for job in list_jobs(rest, name) or [] if job.exists]
    if not jobs:
        return None
    target = {"targetDirectory": folder.as_uri()} if folder else {}
    # In RocksDB's own files: the canonical format is written, and read again, key by key.
    wish = {"drain": False, "formatType": "NATIVE", **target}
    request = _ask("POST", f"{rest}/jobs/{jobs[0].identity}/stop", wish)["request-id"]
    deadline = time.monotonic() + patience_seconds
    while time.monotonic() < deadline:
        answer = get_json(f"{rest}/jobs/{jobs[0].identity}/savepoints/{request}") or {}
        operation = answer.get("operation") or {}  # null until it has been completed
        if "location" in operation:
            return Path(urlsplit(operation["location"]).path)
        if "failure-cause" in operation:
            raise StackError(f"the savepoint failed: {operation['failure-cause'].get('class')}")
        time.sleep(0.2)
    raise StackError(f"no savepoint within {patience_seconds:.0f} s")


def cancel(rest: str, name: str = JOB_NAME) -> None:
    """Cancel every job of that name; its checkpoints are kept.

    Raises:
        StackError: The JobManager refused.
    """
    for job in list_jobs(rest, name) or []:
        if job.exists:
            cancel_one(rest, job.identity)


def cancel_one(rest: str, identity: str) -> None:
    """Cancel the job of that id; its checkpoints are kept.

    Raises:
        StackError: The JobManager refused.
    """
    _ask("PATCH", f"{rest}/jobs/{identity}?mode=cancel")


def _job_state(item: Mapping[str, Any]) -> JobState:
    tasks = item["tasks"]
    return JobState(item["jid"], item["state"], item["start-time"], tasks["total"], tasks["running"])


def _ask(method: str, url: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    try:
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        connection.request(method, path, json.dumps(body or {}), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        content = answer.read()
        if answer.status >= http.client.BAD_REQUEST:
            raise StackError(f"{url} answered {answer.status}: {content[:300]!r}")
        return dict(json.loads(content or b"{}"))
    except (OSError, http.client.HTTPException) as error:
        raise StackError(f"{url} did not answer: {error}") from error
    finally:
        connection.close()
