"""The parts of a stack, and the servers each of them consists of."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

from deploy.local import flink, kafka, redis_server, zookeeper
from deploy.local.addresses import Addresses
from deploy.local.cluster_jobs import list_jobs
from deploy.local.errors import StackError
from deploy.local.home import Home
from deploy.local.job import is_outdated
from deploy.local.server import Server
from deploy.local.service import api_server, sweeper_server
from deploy.local.settings import Settings
from deploy.local.supervision import Program

SERVERS_OF = {
    "zookeeper": ("zookeeper",),
    "kafka": ("kafka",),
    "redis": ("redis",),
    "flink": ("jobmanager", "taskmanager"),
    "api": ("api",),
    "sweeper": ("sweeper",),
    "job": ("job_keeper",),
}
ALL_PARTS = tuple(SERVERS_OF)
# Those that need the topics wait for them; everything else starts at the same time.
AFTER_TOPICS = ("api", "sweeper", "job_keeper")
STOP_ORDER = (("job_keeper", "sweeper", "api"), ("taskmanager", "jobmanager"), ("kafka", "redis", "zookeeper"))
PORTS_OF = {
    "zookeeper": ("zookeeper",),
    "kafka": ("kafka", "kafka_controller"),
    "redis": ("redis",),
    "jobmanager": ("flink", "flink_rpc", "jobmanager_metrics"),
    "taskmanager": ("taskmanager_metrics",),
    "api": ("api",),
}


def check_parts(parts: Iterable[str]) -> tuple[str, ...]:
    """Return `parts` in their usual order.

    Raises:
        StackError: A name is unknown.
    """
    wanted = set(parts)
    unknown = wanted - set(ALL_PARTS)
    if unknown:
        raise StackError(f"unknown part {', '.join(sorted(unknown))}; there are {', '.join(ALL_PARTS)}")
    return tuple(part for part in ALL_PARTS if part in wanted)


def all_servers(home: Home, settings: Settings, addresses: Addresses, stack_env: Mapping[str, str]) -> list[Server]:
    """Describe every server of a complete stack, whether it is going to be started or not."""
    ports, sizes = addresses.ports, settings.sizes
    return [
        zookeeper.server(home, ports["zookeeper"], sizes.zookeeper_heap),
        kafka.server(home, ports["kafka"], ports["kafka_controller"], sizes.kafka_heap),
        redis_server.server(home, ports["redis"]),
        *flink.servers(home, ports, sizes),
        api_server(home, ports["api"], stack_env),
        sweeper_server(home, stack_env),
        _job_keeper(home, addresses, settings, stack_env),
    ]


def _job_keeper(home: Home, addresses: Addresses, settings: Settings, stack_env: Mapping[str, str]) -> Server:
    """Describe the job keeper, which is ready when every vertex of a job with these settings is running."""

    def job_runs() -> bool:
        jobs = list_jobs(addresses.flink_rest)
        running = bool(jobs) and jobs is not None and jobs[0].is_running
        return running and not is_outdated(home, stack_env, settings)

    return Server(
        program=Program(
            name="job_keeper", argv=(sys.executable, "-m", "deploy.local.job_keeper", "--home", str(home.path))
        ),
        address="",
        is_ready=lambda: home.job_stopped.exists() or job_runs(),
    )
