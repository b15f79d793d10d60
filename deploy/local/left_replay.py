"""The second job of a `reweigh replay` that was killed: nobody waits for it any more, and it takes a slot."""

from __future__ import annotations

import fcntl

from deploy.local.cluster_jobs import cancel_one, list_jobs
from deploy.local.home import Home
from reccore.job import REPLAY_JOB_NAME


def end_left_replay(home: Home, rest: str) -> list[str]:
    """Cancel every second job whose replay is gone, and return their ids.

    Raises:
        StackError: The JobManager refused.
    """
    # Listed before the lock is looked at: a replay that begins in between can't be the one of such a job.
    jobs = [job for job in list_jobs(rest, REPLAY_JOB_NAME) or [] if job.exists and job.state != "CANCELLING"]
    if not jobs or _is_under_way(home):
        return []
    for job in jobs:
        cancel_one(rest, job.identity)
    return [job.identity for job in jobs]


def _is_under_way(home: Home) -> bool:
    with home.replay_lock.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False
