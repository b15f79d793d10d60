"""The bridge from RabbitMQ to Kafka, a Python program of this checkout."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from deploy.local.ports import HOST
from deploy.local.server import Server, answers
from deploy.local.supervision import Program


def bridge_server(metrics_port: int, environment: Mapping[str, str]) -> Server:
    """Describe the bridge with its metrics on a port; `environment` is what `stack.env` holds."""
    return Server(
        program=Program(
            name="bridge",
            argv=(sys.executable, "-m", "reweigh.cli", "bridge", "rabbitmq"),
            env={**environment, "RABBITMQ_METRICS_PORT": str(metrics_port)},
            stop_patience=20,
        ),
        address=f"http://{HOST}:{metrics_port}/metrics",
        is_ready=lambda: answers(f"http://{HOST}:{metrics_port}/metrics"),
    )
