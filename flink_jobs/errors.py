"""The exceptions of the job.

ReweighError
├── UnexpectedPlanError         Flink's planner makes of the job what it never did: nothing is submitted
└── JobError
    ├── RedisUnavailableError   Redis stayed away through every retry: the job restarts from its checkpoint
    ├── RedisRefusedError       Redis refuses a command for good, e.g. for a key of another type
    └── FencedOffError          a newer writer has taken over: this one must stop
"""

from __future__ import annotations

from reccore.errors import ReweighError


class JobError(ReweighError):
    """Base of the job's errors; each one fails the running attempt, and Flink starts the next from the checkpoint."""


class RedisUnavailableError(JobError):
    """Redis stayed away through every retry."""


class RedisRefusedError(JobError):
    """Redis refuses a command, and would again."""


class FencedOffError(JobError):
    """A writer that opened later has written these rows, so what this one holds is out of date."""


class UnexpectedPlanError(ReweighError):
    """The plan lacks a step that the job counts on, as another version of Flink might have it."""
