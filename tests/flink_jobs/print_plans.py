"""Plans the job and prints the plans and the tasks as JSON, by name. A program of its own: its JVM ends with it."""

from __future__ import annotations

import json
import sys
from typing import Any

from pyflink.table import ExplainDetail, Table

from flink_jobs.profile_job import ProfileJob
from flink_jobs.settings import parse_settings

SETTINGS = parse_settings(
    ["--kafka-bootstrap", "127.0.0.1:1", "--zookeeper-hosts", "127.0.0.1:1", "--redis-url", "redis://127.0.0.1:1/0"],
    {"EXTRA_EVENT_TYPES": "wishlist:wishlist-events"},
)


class ExplainedJob(ProfileJob):
    """The job, with the plans of what it cuts off kept."""

    def __init__(self, connector: str) -> None:
        super().__init__(SETTINGS, {"pipeline.jars": connector})
        self.plans: dict[str, dict[str, str]] = {}

    def tasks(self) -> list[str]:
        """Give the tasks' names, each the names of its operators."""
        environment: Any = self._environment._j_stream_execution_environment
        graph = environment.getStreamGraph(False).getJobGraph()
        return [vertex.getName() for vertex in graph.getVerticesSortedTopologicallyFromSources()]

    def _cut(self, name: str, table: Table, *, with_proctime: bool = False) -> None:
        self.plans[name] = carried_out(table.explain(ExplainDetail.CHANGELOG_MODE))
        super()._cut(name, table, with_proctime=with_proctime)


def carried_out(explanation: str) -> dict[str, str]:
    """Give the two last parts of an explanation: with the kinds of change of each step, and as it is executed."""
    optimized = explanation.partition("== Optimized Physical Plan ==")[2]
    physical, _, execution = optimized.partition("== Optimized Execution Plan ==")
    return {"physical": physical, "execution": execution}


def main(connector: str) -> None:
    """Print the plans."""
    job = ExplainedJob(connector)
    for name, statements in zip(("profiles", "statistics"), job.plan(), strict=True):
        job.plans[name] = carried_out(statements.explain(ExplainDetail.CHANGELOG_MODE))
        statements.attach_as_datastream()
    sys.stdout.write(json.dumps({"plans": job.plans, "tasks": job.tasks()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
