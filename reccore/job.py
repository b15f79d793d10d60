"""The names of the profile job, and of the one that counts anew beside it."""

from __future__ import annotations

from typing import Final

JOB_NAME: Final = "reweigh-profile"
"""On the cluster; the job's consumer group in Kafka has it too, unless it was named otherwise."""

REPLAY_JOB_NAME: Final = "reweigh-replay"
"""On the cluster; names of its consumer groups and topics are made of it and the time."""
