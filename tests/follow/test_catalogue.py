"""The topic of the catalogue, carried into a real Redis by the process of the stack."""

from __future__ import annotations

import json
import os
import random
import signal
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from deploy.local import Stack
from deploy.local.server import get
from reccore import layout
from reccore.followed_topics import PRODUCT_CATALOG
from reweigh import cli
from tests.follow.conftest import letters, second_follower
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(300)
LAMP = {
    "product_id": "lamp", "name": "Lamp", "category": "light", "price": 9.5, "description": "warm",
    "attributes": {"watt": 4, "colours": ["red"]},
}  # fmt: skip


def send(producer: Producer, *products: dict[str, Any] | str | bytes) -> None:
    """Send products, ids to remove, and bytes as they are; wait for the acknowledgements."""
    for each in products:
        if isinstance(each, bytes):
            producer.produce(PRODUCT_CATALOG, each, "bad")  # a compacted topic takes nothing without a key
        elif isinstance(each, str):
            producer.produce(PRODUCT_CATALOG, None, each)
        else:
            producer.produce(PRODUCT_CATALOG, json.dumps(each), str(each["product_id"]))
    assert producer.flush(30) == 0


def row(client: Any, product_id: str) -> Any:
    """What the catalogue holds of a product."""
    return json.loads(client.hget(layout.CATALOG, product_id) or "null")


def test_products_come_change_and_go(client: Any, producer: Producer) -> None:
    """Whole products; one that is removed is remembered as such until it comes again."""
    send(producer, LAMP)
    wait_until(lambda: row(client, "lamp"))
    assert row(client, "lamp") | {"tags_since_ms": 0} == {
        "name": "Lamp", "tags": ["light"], "price": 9.5, "category": "light", "tags_since_ms": 0
    }  # fmt: skip
    details = {"description": "warm", "attributes": {"watt": 4, "colours": ["red"]}}
    assert json.loads(client.hget(layout.CATALOG_DETAILS, "lamp") or "") == details
    version = int(client.get(layout.CATALOG_VERSION) or 0)
    send(producer, {"product_id": "lamp", "name": "Lamp 2", "tags": ["x"]})
    wait_until(lambda: row(client, "lamp")["name"] == "Lamp 2")
    assert not client.hexists(layout.CATALOG_DETAILS, "lamp")
    assert int(client.get(layout.CATALOG_VERSION) or 0) > version
    send(producer, "lamp")
    wait_until(lambda: row(client, "lamp") is None)
    assert int(client.hget(layout.CATALOG_REMOVED, "lamp") or 0) > 1_700_000_000_000
    send(producer, "lamp", LAMP)
    wait_until(lambda: row(client, "lamp"))
    assert not client.hexists(layout.CATALOG_REMOVED, "lamp")


def test_bad_records_are_dead_letters(stack: Stack, client: Any, producer: Producer) -> None:
    """Each with its reason and its bytes; the others are carried on."""
    bad = {
        b"[]": "not_an_object",
        b'{"name": "x"}': "invalid_product_id",
        b'{"product_id": "p", "price": -1}': "invalid_price",
        b'{"product_id": "p", "attributes": 3}': "invalid_attributes",
        b"\xff": "not_json",
    }
    send(producer, *bad, {"product_id": "good"})
    send(producer, "x" * 129)
    wait_until(lambda: row(client, "good"))
    found = letters(stack, PRODUCT_CATALOG, len(bad) + 1)
    assert sorted(each["reason"] for each in found) == sorted([*bad.values(), "invalid_product_id"])
    page = get(f"http://127.0.0.1:{stack.addresses.ports['follower_metrics']}/metrics")[1].decode()
    assert f'follow_messages_total{{outcome="dead",topic="{PRODUCT_CATALOG}"}} {len(bad) + 1}.0' in page


def test_a_lost_redis_gets_everything_again(client: Any, producer: Producer) -> None:
    """Also where nothing new comes."""
    send(producer, LAMP, {"product_id": "kept"})
    wait_until(lambda: row(client, "kept") and row(client, "lamp"))
    before = set(client.hkeys(layout.CATALOG))
    client.flushall()
    wait_until(lambda: set(client.hkeys(layout.CATALOG)) == before, 30)


def test_killed_and_beside_another(stack: Stack, client: Any, producer: Producer) -> None:
    """SIGKILL again and again, a second one beside it: what was sent last of each product is what holds."""
    draw, last = random.Random(3), dict[str, int | None]()
    with second_follower(stack):
        for turn in range(4):
            for number in range(1_500):
                name = f"p{draw.randrange(300)}"
                last[name] = None if draw.random() < 0.2 else turn * 10_000 + number
                price = last[name]
                send_later(producer, name, price)
            wait_until(lambda: stack.pid("follower"))  # it may just be coming back
            if victim := stack.pid("follower"):
                os.kill(victim, signal.SIGKILL)
            producer.flush(30)
        send(producer, {"product_id": "end"})
        wait_until(lambda: row(client, "end"), 60)
        wait_until(lambda: all(is_last(client, name, price) for name, price in last.items()), 30)


def send_later(producer: Producer, name: str, price: int | None) -> None:
    """Send a product of this price, or its removal."""
    value = None if price is None else json.dumps({"product_id": name, "price": price})
    producer.produce(PRODUCT_CATALOG, value, name)
    producer.poll(0)


def is_last(client: Any, name: str, price: int | None) -> bool:
    """Whether the catalogue holds a product so."""
    found = row(client, name)
    removed = client.hexists(layout.CATALOG_REMOVED, name)
    return bool(found is None and removed if price is None else found and found["price"] == price and not removed)


def test_files_by_way_of_the_topic(
    stack: Stack, client: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`catalog send` and the columns of the CSV; `catalog remove` takes one out."""
    file = tmp_path / "products.csv"
    file.write_text(
        "product_id,product_name,category,price,description,attributes\n"
        'c1,Chair,home,49.9,"Oak, solid","{""seats"": 1}"\nc2,Desk,home,x,,\nc3,Rug,,,,\n'
    )
    env = ["--env", str(stack.home.stack_env)]
    assert cli.main(["catalog", "send", str(file), *env]) == 1
    assert "2 products sent to product-catalog, 1 lines rejected" in capsys.readouterr().out
    wait_until(lambda: row(client, "c1") and row(client, "c3"))
    assert row(client, "c1")["name"] == "Chair"
    assert row(client, "c1")["tags"] == ["home"]
    assert json.loads(client.hget(layout.CATALOG_DETAILS, "c1") or "") == {
        "description": "Oak, solid", "attributes": {"seats": 1}
    }  # fmt: skip
    assert cli.main(["catalog", "remove", "c1", *env]) == 0
    assert row(client, "c1") is None
    assert client.hexists(layout.CATALOG_REMOVED, "c1")
