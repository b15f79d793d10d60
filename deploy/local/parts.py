"""The parts of a stack, and the servers each of them consists of."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Mapping

from deploy.local import flink, kafka, rabbitmq, redis_server, zookeeper
from deploy.local.addresses import Addresses, rabbitmq_environment
from deploy.local.archive import archive_servers
from deploy.local.bridge import bridge_server
from deploy.local.cluster_jobs import list_jobs
from deploy.local.errors import StackError
from deploy.local.follower import follower_server
from deploy.local.home import Home
from deploy.local.job import is_outdated
from deploy.local.monitoring import canary_server, monitoring_servers
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
    "follower": ("follower",),
    "job": ("job_keeper",),
    "rabbitmq": ("rabbitmq",),
    "bridge": ("bridge",),
    "archive": ("archive", "archive_ratings"),
    "monitoring": ("prometheus", "alertmanager", "node_exporter"),
    "canary": ("canary",),
}
ALL_PARTS = tuple(SERVERS_OF)
OPTIONAL_PARTS = {
    "STACK_RABBITMQ": ("rabbitmq", "bridge"),
    "STACK_ARCHIVE": ("archive",),
    "STACK_MONITORING": ("monitoring", "canary"),
}
"""Those that run only where they are asked for, by the variable that asks."""
DEFAULT_PARTS = tuple(part for part in ALL_PARTS if not any(part in parts for parts in OPTIONAL_PARTS.values()))
# Those that need the topics wait for them; everything else starts at the same time.
AFTER_TOPICS = ("api", "sweeper", "follower", "job_keeper", "bridge", "archive", "archive_ratings", "canary")
STOP_ORDER = (
    ("prometheus", "alertmanager", "node_exporter", "canary"),
    ("job_keeper", "sweeper", "api", "follower", "bridge", "archive", "archive_ratings"),
    ("taskmanager", "jobmanager"),
    ("kafka", "redis", "zookeeper", "rabbitmq"),
)
PORTS_OF = {
    "zookeeper": ("zookeeper",),
    "kafka": ("kafka", "kafka_controller"),
    "redis": ("redis",),
    "jobmanager": ("flink", "flink_rpc", "jobmanager_metrics"),
    "taskmanager": ("taskmanager_metrics",),
    "api": ("api",),
    "rabbitmq": ("rabbitmq",),
    "bridge": ("bridge_metrics",),
    "archive": ("archive_metrics",),
    "archive_ratings": ("archive_ratings_metrics",),
    "follower": ("follower_metrics",),
    "prometheus": ("prometheus",),
    "alertmanager": ("alertmanager",),
    "node_exporter": ("node_exporter",),
    "canary": ("canary_metrics",),
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


def all_servers(
    home: Home, settings: Settings, addresses: Addresses, stack_env: Mapping[str, str], parts: Collection[str]
) -> list[Server]:
    """Describe every server of a complete stack, whether it is going to be started or not.

    Optional ones are described only where they are among `parts`: who doesn't want RabbitMQ need not have it.
    """
    ports, sizes = addresses.ports, settings.sizes
    servers = [
        zookeeper.server(home, ports["zookeeper"], sizes.zookeeper_heap),
        kafka.server(home, ports["kafka"], ports["kafka_controller"], sizes.kafka_heap),
        redis_server.server(home, ports["redis"]),
        *flink.servers(home, ports, sizes),
        api_server(home, ports["api"], stack_env),
        sweeper_server(home, stack_env),
        follower_server(home, ports["follower_metrics"], stack_env),
        _job_keeper(home, addresses, settings, stack_env),
    ]
    if "rabbitmq" in parts:
        servers.append(rabbitmq.server(home, ports["rabbitmq"]))
    if "bridge" in parts:
        servers.append(bridge_server(ports["bridge_metrics"], {**stack_env, **rabbitmq_environment(addresses)}))
    if "archive" in parts:
        servers += archive_servers(home, ports, stack_env)
    if "monitoring" in parts:
        servers += monitoring_servers(home, ports, parts, sizes.alert_speed)
    if "canary" in parts:
        servers.append(canary_server(home, ports["canary_metrics"], stack_env))
    return servers


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
