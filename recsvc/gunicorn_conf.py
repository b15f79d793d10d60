"""gunicorn's configuration: ``gunicorn -c recsvc/gunicorn_conf.py recsvc.wsgi:app``.

``API_BIND`` (default 127.0.0.1:8000), ``API_WORKERS`` (2) and ``API_THREADS`` (8 a worker) set the size.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from reccore.errors import SettingError
from recsvc.settings import settings_from, whole_number

try:
    workers = whole_number(os.environ, "API_WORKERS", 2, 1, 1_000)
    threads = whole_number(os.environ, "API_THREADS", 8, 1, 1_000)
    settings_from()  # each worker reads them for itself; a wrong one is told of in one line, before any starts
except SettingError as exc:
    sys.exit(str(exc))

bind = os.environ.get("API_BIND") or "127.0.0.1:8000"
worker_class = "recsvc.worker.ProblemWorker"
worker_connections = 4000  # a slow client costs a connection, no thread
backlog = 2048
keepalive = 30
timeout = 30
graceful_timeout = 10
limit_request_line = 8190
limit_request_fields = 64
limit_request_field_size = 8190
control_socket_disable = True
preload_app = False
logger_class = "recsvc.gunicorn_log.GunicornLog"
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  a heartbeat must not wait for a disk

# prometheus_client decides when it is imported whether it shares its values between processes.
os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", str(Path(tempfile.gettempdir()) / f"reweigh-metrics-{os.getpid()}"))
# Matrices are small here: threads of numpy's own would only take the processor from requests.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def on_starting(server: Any) -> None:  # noqa: ARG001
    """Begin with an empty metrics folder: values of processes that are gone would count for ever."""
    folder = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)


def post_worker_init(worker: Any) -> None:  # noqa: ARG001
    """Start the clients in the worker: none of them survives a fork."""
    from recsvc.wsgi import services

    services.start()


def worker_exit(server: Any, worker: Any) -> None:  # noqa: ARG001
    """End the clients, so that the worker's registration in ZooKeeper goes with it."""
    from recsvc.wsgi import services

    services.stop()


def child_exit(server: Any, worker: Any) -> None:  # noqa: ARG001
    """Take the gauges of a worker that is gone out of the sum."""
    from prometheus_flask_exporter.multiprocess import GunicornInternalPrometheusMetrics

    GunicornInternalPrometheusMetrics.mark_process_dead_on_child_exit(worker.pid)
