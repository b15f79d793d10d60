"""The profile job as Flink's REST interface tells of it."""

from __future__ import annotations

import http.client
import json
import time
from typing import Any, Final
from urllib.parse import urlsplit

from reccore.job import JOB_NAME
from recsvc.errors import ServiceError
from recsvc.ops.look import Part

_SECONDS: Final = 0.5


class FlinkUnavailable(ServiceError):
    """The JobManager does not answer."""


def read_job(rest: str) -> Part:
    """Give the job's state and its newest checkpoint; ``state`` is None where there is no address to ask at.

    Raises ``FlinkUnavailable``.
    """
    if not rest:
        return {"state": None, "why": "FLINK_REST is not set, so nobody is asked how the job does"}
    jobs = [each for each in _ask(f"{rest}/jobs/overview")["jobs"] if each["name"] == JOB_NAME]
    if not jobs:
        return {"state": "NONE", "why": f"there is no job named {JOB_NAME}"}
    # The one that exists, else the one that ended last.
    job = max(jobs, key=lambda each: (each["end-time"] == -1, each["start-time"]))
    counts = job["tasks"]
    found = _ask(f"{rest}/jobs/{job['jid']}/checkpoints")
    restarts = _ask(f"{rest}/jobs/{job['jid']}/metrics?get=numRestarts")
    return {
        "state": job["state"],
        "since_ms": job["start-time"],
        "tasks": {"running": counts["running"], "all": counts["total"]},
        "restarts": int(float(restarts[0]["value"])) if restarts else None,
        "checkpoints": _checkpoints(found),
    }


def _checkpoints(found: dict[str, Any]) -> dict[str, Any]:
    newest = found["latest"].get("completed")
    about = newest and {
        "seconds_old": round(time.time() - newest["latest_ack_timestamp"] / 1000, 1),
        "took_ms": newest["end_to_end_duration"],
        "bytes": newest["state_size"],
    }
    return {"completed": found["counts"]["completed"], "failed": found["counts"]["failed"], "newest": about}


def _ask(url: str) -> Any:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=_SECONDS)
    try:
        connection.request("GET", f"{parts.path}?{parts.query}" if parts.query else parts.path)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != http.client.OK:
            raise FlinkUnavailable(f"Flink answered {answer.status}")
        return json.loads(body)
    except (OSError, http.client.HTTPException, ValueError) as exc:
        raise FlinkUnavailable(f"Flink does not answer: {exc}") from exc
    finally:
        connection.close()
