"""The exceptions of the job.

ReweighError
└── JobError
    ├── RedisUnavailableError   Redis stayed away through every retry: the job restarts from its checkpoint
    └── FencedOffError          a newer writer has taken over: this one must stop
"""

from __future__ import annotations

from reccore.errors import ReweighError


class JobError(ReweighError):
    """Base of the job's errors; each one fails the running attempt, and Flink starts the next from the checkpoint."""


class RedisUnavailableError(JobError):
    """Redis stayed away through every retry."""


class FencedOffError(JobError):
    """A writer that opened later has written these rows, so what this one holds is out of date."""
