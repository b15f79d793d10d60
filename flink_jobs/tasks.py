"""Where one task ends and the next begins, which SQL leaves to the planner."""

from __future__ import annotations

from typing import Any

from pyflink.datastream import StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway

from flink_jobs.errors import UnexpectedPlanError


def begin_task(environment: StreamExecutionEnvironment, function: str) -> None:
    """Have the operator that calls ``function`` run in a thread of its own, beside that of the operator before it.

    A chain is one thread: while it waits for Python, and Python for Redis, nothing before it in the chain moves. What
    it costs is that rows are serialized between the two. Takes what was attached to the environment until now.

    Raises:
        UnexpectedPlanError: The planner has made nothing of the kind.
    """
    transformations: Any = environment._j_stream_execution_environment.getTransformations()
    head = get_gateway().jvm.org.apache.flink.streaming.api.operators.ChainingStrategy.HEAD
    found = False
    waiting = list(transformations)
    while waiting:
        each = waiting.pop()
        if f"{function}(" in (each.getDescription() or ""):
            each.setChainingStrategy(head)
            found = True
        waiting += list(each.getInputs())
    if not found:
        raise UnexpectedPlanError(f"the plan has no operator that calls {function}")
