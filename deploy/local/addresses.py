"""Where each part listens, and the file that tells everybody else."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from deploy.local import java
from deploy.local.archive import archive_settings
from deploy.local.flink_distribution import flink_home
from deploy.local.home import Home
from deploy.local.ports import HOST


@dataclass(frozen=True)
class Addresses:
    """Addresses of one stack, built from its ports."""

    ports: Mapping[str, int]

    @property
    def kafka(self) -> str:
        """`host:port` of the broker."""
        return f"{HOST}:{self.ports['kafka']}"

    @property
    def zookeeper(self) -> str:
        """`host:port` of ZooKeeper."""
        return f"{HOST}:{self.ports['zookeeper']}"

    @property
    def redis_url(self) -> str:
        """URL of Redis' database 0."""
        return f"redis://{HOST}:{self.ports['redis']}/0"

    @property
    def flink_rest(self) -> str:
        """URL of the JobManager's REST interface and web pages."""
        return f"http://{HOST}:{self.ports['flink']}"

    @property
    def api_url(self) -> str:
        """URL of the HTTP service."""
        return f"http://{HOST}:{self.ports['api']}"


def stack_environment(
    home: Home, addresses: Addresses, handed_on: Mapping[str, str], redis_url: str = ""
) -> dict[str, str]:
    """Return what `stack.env` holds. The API key is made once for a home; `redis_url` is that of a Redis elsewhere."""
    return {
        "KAFKA_BOOTSTRAP": addresses.kafka,
        "ZOOKEEPER_HOSTS": addresses.zookeeper,
        "REDIS_URL": redis_url or addresses.redis_url,
        "FLINK_REST": addresses.flink_rest,
        "FLINK_HOME": str(flink_home()),
        "API_URL": addresses.api_url,
        "CONFIG_API_KEY": _api_key(home),
        # What `$FLINK_HOME/bin/flink` needs to reach this cluster without further options.
        "FLINK_CONF_DIR": str(home.flink / "conf"),
        "JAVA_HOME": str(java.java_home()),
        **archive_settings(home),
        **handed_on,
    }


def rabbitmq_environment(addresses: Addresses) -> dict[str, str]:
    """Return what `stack.env` holds besides where RabbitMQ is a part of the stack."""
    return {"RABBITMQ_HOST": HOST, "RABBITMQ_PORT": str(addresses.ports["rabbitmq"])}


def write_stack_env(home: Home, environment: Mapping[str, str]) -> None:
    """Write `stack.env` in one step, readable by its owner only."""
    draft = home.path / "stack.env.draft"
    draft.touch(mode=0o600)
    draft.write_text("".join(f"{key}={value}\n" for key, value in environment.items()))
    draft.replace(home.stack_env)


def read_stack_env(home: Home) -> dict[str, str]:
    """Return what `stack.env` says, empty when there is none."""
    if not home.stack_env.exists():
        return {}
    lines = (line.partition("=") for line in home.stack_env.read_text().splitlines() if "=" in line)
    return {key: value for key, _, value in lines}


def _api_key(home: Home) -> str:
    file = home.path / "api.key"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(24) + "\n")
    return file.read_text().strip()
