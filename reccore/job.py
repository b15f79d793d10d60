"""The profile job's name."""

from __future__ import annotations

from typing import Final

JOB_NAME: Final = "reweigh-profile"
"""On the cluster; the job's consumer group in Kafka has it too, unless it was named otherwise."""
