"""The jobs on the cluster, as the JobManager's REST interface shows them."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any, Self

from faults.patience import wait_until
from faults.watching import Watching

_ENDED = {"FAILED", "CANCELED", "FINISHED", "SUSPENDED"}


def ask(rest: str, path: str) -> Any:
    """GET; gives the JSON, or None when the JobManager does not answer."""
    try:
        with urllib.request.urlopen(rest + path, timeout=5) as response:
            return json.load(response)
    except (OSError, urllib.error.URLError, ValueError):
        return None


def current_job(rest: str) -> str:
    """Id of the job that has not ended, empty when there is none or nobody answers."""
    overview = ask(rest, "/jobs/overview") or {"jobs": []}
    return next((str(each["jid"]) for each in overview["jobs"] if each["state"] not in _ENDED), "")


def last_restart_ms(rest: str) -> int:
    """When Flink last restarted the job that there is now (epoch ms), 0 when it never did, -1 when it does not tell."""
    found = ask(rest, f"/jobs/{current_job(rest)}")
    return int(found["timestamps"]["RESTARTING"]) if found else -1


def start_checkpoint(rest: str, job: str) -> None:
    """Ask for a checkpoint now, beside those that come by themselves."""
    request = urllib.request.Request(
        f"{rest}/jobs/{job}/checkpoints", b"{}", {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=5):
        return


def in_progress(rest: str, job: str) -> int:
    """How many checkpoints of a job are in progress."""
    found = ask(rest, f"/jobs/{job}/checkpoints")
    return int(found["counts"]["in_progress"]) if found else 0


def completed_checkpoint(rest: str, job: str) -> int:
    """Number of the newest completed checkpoint of a job, 0 before the first."""
    latest = ask(rest, f"/jobs/{job}/checkpoints")["latest"]["completed"]
    return int(latest["id"]) if latest else 0


def restored_checkpoint(rest: str, job: str) -> tuple[int, str]:
    """Number and path of the checkpoint that a job has gone on from."""
    restored = ask(rest, f"/jobs/{job}/checkpoints")["latest"]["restored"]
    assert restored, f"{job} began with the first record"
    return int(restored["id"]), str(restored["external_path"])


def wait_for_checkpoint(rest: str) -> None:
    """Wait for a checkpoint that begins after now and is completed."""
    (job,) = (each["jid"] for each in ask(rest, "/jobs/overview")["jobs"] if each["state"] not in _ENDED)
    now_ms = time.time() * 1_000

    def completed() -> bool:
        latest = (ask(rest, f"/jobs/{job}/checkpoints") or {"latest": {}})["latest"].get("completed")
        return latest is not None and latest["trigger_timestamp"] > now_ms

    wait_until("a checkpoint", completed)


class JobWatch(Watching):
    """Looks at the list of jobs all the time; those that ended before don't count."""

    def __init__(self, rest: str) -> None:
        super().__init__(pause=0.1)
        self.seen: set[str] = set()
        self.most_at_once = 0
        self.running = ""
        self._rest = rest
        self._before: set[str] = set()

    def look(self) -> None:
        """Look once; nothing is known while the JobManager does not answer."""
        overview = ask(self._rest, "/jobs/overview")
        if overview is None:
            return
        jobs = [job for job in overview["jobs"] if job["state"] not in _ENDED]
        self.most_at_once = max(self.most_at_once, len(jobs))
        self.seen |= {job["jid"] for job in overview["jobs"]} - self._before
        self.running = next((job["jid"] for job in jobs if job["tasks"]["running"] == job["tasks"]["total"]), "")

    def __enter__(self) -> Self:
        overview = ask(self._rest, "/jobs/overview") or {"jobs": []}
        self._before = {job["jid"] for job in overview["jobs"] if job["state"] in _ENDED}
        return super().__enter__()
