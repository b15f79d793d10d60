"""A key is replaced while the service runs."""

from __future__ import annotations

from pathlib import Path

from tests.security.served import Served, served
from tests.waiting import wait_until

WEIGHTS = {"view": 1, "add_to_cart": 3, "purchase": 5}


def test_a_key_is_replaced_without_a_gap(real_hosts: str, tmp_path: Path) -> None:
    """Old; old and new; new: at each reload of the file one of them is valid all the time."""
    keys = tmp_path / "keys"
    keys.write_text("old\n")
    environment = {
        "ZOOKEEPER_HOSTS": real_hosts,
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "CONFIG_API_KEY": "",
        "CONFIG_API_KEY_FILE": str(keys),
    }
    with served(tmp_path, environment) as service:
        wait_until(lambda: put(service, "old") == 200)
        assert put(service, "new") == 403
        keys.write_text("new\nold\n")
        service.reload()
        wait_until(lambda: put(service, "new") == 200, 30, pause=0.1)
        assert put(service, "old") == 200
        keys.write_text("new\n")
        service.reload()
        wait_until(lambda: put(service, "old") == 403, 30, pause=0.1)
        wait_until(lambda: put(service, "new") == 200, 30, pause=0.1)  # once the new worker has reached ZooKeeper


def put(service: Served, key: str) -> int:
    """Change the weights."""
    return service.ask("/api/config/weights", "PUT", WEIGHTS, X_API_Key=key, Content_Type="application/json").status
