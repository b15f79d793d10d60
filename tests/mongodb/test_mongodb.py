"""Products of a collection into a real Redis, from a server that speaks MongoDB's protocol."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
import redis
from bson import Decimal128, ObjectId
from py4j.java_collections import ListConverter
from py4j.java_gateway import CallbackServerParameters, JavaGateway
from pymongo import MongoClient

from deploy.local import Stack
from deploy.local.jars import fetch_jars, jar_paths
from deploy.local.java import java_home
from reccore.layout import CATALOG, CATALOG_DETAILS, CATALOG_REMOVED, CATALOG_VERSION
from reweigh.cli import main
from reweigh.mongodb import MongoCatalogue, Turn, collection
from tests.servers import empty_redis, fresh_stack
from tests.waiting import wait_until

LOCK = Path(__file__).with_name("jars.lock")


class NewerVersion:
    """What the server says of itself: by its own word it is older than the client accepts."""

    def __init__(self, gateway: JavaGateway) -> None:
        self._gateway = gateway

    def getVersionArray(self) -> Any:  # noqa: N802 (Java's name)
        """MongoDB 5.0.0."""
        return ListConverter().convert([5, 0, 0], self._gateway._gateway_client)

    def getWireVersion(self) -> int:  # noqa: N802
        """That of MongoDB 5.0."""
        return 13

    class Java:
        """Which interface this is."""

        implements: ClassVar = ["de.bwaldvogel.mongo.MongoVersion"]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of a database of a server in a JVM of its own."""
    fetch_jars(print, lock=LOCK)
    class_path = os.pathsep.join(map(str, jar_paths("mongo-java-server", lock=LOCK)))
    java = str(java_home() / "bin" / "java")
    gateway = JavaGateway.launch_gateway(classpath=class_path, java_path=java, die_on_exit=True)
    gateway.start_callback_server(CallbackServerParameters(port=0, daemonize=True, daemonize_connections=True))
    callbacks, served = gateway.get_callback_server(), gateway.java_gateway_server
    served.resetCallbackClient(served.getCallbackClient().getAddress(), callbacks.get_listening_port())
    mongo = gateway.jvm.de.bwaldvogel.mongo
    running = mongo.MongoServer(mongo.backend.memory.MemoryBackend().version(NewerVersion(gateway)))
    try:
        yield f"mongodb://localhost:{running.bind().getPort()}/shop"
    finally:
        running.shutdownNow()
        gateway.shutdown()
        gateway.java_process.stdin.close()
        gateway.java_process.wait(20)


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    """Redis."""
    with fresh_stack("redis") as started:
        yield started


@pytest.fixture
def products(server: str) -> Iterator[Any]:
    """The collection, empty before."""
    with MongoClient[dict[str, Any]](server, tz_aware=True) as client:
        found = client.get_default_database()["products"]
        found.delete_many({})
        yield found


@pytest.fixture
def client(stack: Stack) -> Iterator[redis.Redis]:
    """Redis, empty before and after."""
    with empty_redis(stack.addresses.redis_url) as found:
        yield found


def load(server: str, client: Any, *further: str) -> int:
    """Run the command once."""
    port = client.connection_pool.connection_kwargs["port"]
    return main(["catalog", "mongodb", "--url", server, "--redis-url", f"redis://127.0.0.1:{port}/0", *further])


def test_documents_become_products(server: str, products: Any, client: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Ids, times and decimal numbers of MongoDB as JSON can say them; wrong documents are told and stop no other."""
    own = ObjectId()
    made = datetime(2026, 1, 5, tzinfo=UTC)
    products.insert_many(
        [
            {"_id": own, "name": "Lamp", "tags": ["light"], "price": Decimal128("9.50")},
            {"_id": 7, "product_name": "Sofa", "category": "home", "attributes": {"made": made, "by": own, "w": [1]}},
            {"_id": "x", "product_id": "rug", "description": "soft"},
            {"_id": "bad", "price": "much"},
        ]
    )
    assert load(server, client) == 1
    said = capsys.readouterr()
    assert "3 products stored, 0 removed, 1 documents rejected" in said.out
    assert "document 'bad': invalid_price: price: 'much'" in said.err
    rows = {name: json.loads(row) for name, row in client.hgetall(CATALOG).items()}
    assert set(rows) == {str(own), "7", "rug"}
    assert (rows[str(own)]["price"], rows[str(own)]["tags"], rows["7"]["tags"]) == (9.5, ["light"], ["home"])
    details = json.loads(client.hget(CATALOG_DETAILS, "7") or "")
    assert details["attributes"] == {"made": "2026-01-05T00:00:00+00:00", "by": str(own), "w": [1]}


def test_what_the_collection_has_not_is_removed_where_that_is_asked_for(
    server: str, products: Any, client: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """By default what somebody else has loaded stays."""
    products.insert_many([{"_id": f"p{number}"} for number in range(2_500)])
    assert load(server, client) == 0
    products.delete_many({"_id": {"$in": ["p1", "p2"]}})
    assert load(server, client) == 0
    assert client.hlen(CATALOG) == 2_500
    assert load(server, client, "--remove-missing") == 0
    assert "2 removed" in capsys.readouterr().out
    assert set(client.hgetall(CATALOG_REMOVED)) == {"p1", "p2"}
    assert client.hlen(CATALOG) == 2_498


def test_again_and_again(server: str, products: Any, client: Any) -> None:
    """New, changed and vanished documents take effect; a turn without any writes nothing; SIGTERM ends it with 0."""
    products.insert_many([{"_id": "a", "name": "A"}, {"_id": "b", "name": "B"}])
    port = client.connection_pool.connection_kwargs["port"]
    command = (sys.executable, "-m", "reweigh.cli", "catalog", "mongodb", "--url", server, "--every", "1s")
    process = subprocess.Popen(
        (*command, "--redis-url", f"redis://127.0.0.1:{port}/0"), stdout=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: client.hlen(CATALOG) == 2, 60)
        products.delete_one({"_id": "a"})
        products.update_one({"_id": "b"}, {"$set": {"name": "Better"}})
        products.insert_one({"_id": "c"})
        wait_until(lambda: set(client.hkeys(CATALOG)) == {"b", "c"}, 60)
        assert json.loads(client.hget(CATALOG, "b") or "")["name"] == "Better"
        assert client.hexists(CATALOG_REMOVED, "a")
        version, lines = client.get(CATALOG_VERSION), iter(process.stdout or ())
        wait_until(lambda: next(lines) == "0 products stored, 0 removed\n", 60)
        assert client.get(CATALOG_VERSION) == version
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mongodb://localhost:1/shop?serverSelectionTimeoutMS=200", "can't be read"),
        ("mongodb://localhost:1", "names no database"),
        ("redis://localhost:secret@", "is no URL of MongoDB"),
    ],
)
def test_what_can_not_be_read_is_told(client: Any, capsys: pytest.CaptureFixture[str], url: str, said: str) -> None:
    """And removes nothing."""
    client.hset(CATALOG, "p", "{}")
    assert load(url, client, "--remove-missing") == 1
    err = capsys.readouterr().err
    assert said in err
    assert "secret" not in err
    assert client.hlen(CATALOG) == 1


def test_trouble_with_some_documents_costs_the_others_nothing(server: str, products: Any, client: Any) -> None:
    """One that has become wrong stays as it was, of two of one id the last counts, and lost rows are stored again."""
    with collection(server, "products") as documents:
        catalogue = MongoCatalogue(documents, client, remove_missing=False)
        products.insert_many([{"_id": "q", "price": 1}, {"_id": 1, "item_id": "p", "name": "first"}])
        products.insert_one({"_id": 2, "item_id": "p", "name": "last"})
        assert catalogue.turn() == Turn(3, 0, 0)
        assert json.loads(client.hget(CATALOG, "p") or "")["name"] == "last"
        products.update_one({"_id": "q"}, {"$set": {"price": Decimal128("sNaN")}})
        turn = catalogue.turn()
        assert (turn.removed, turn.rejected) == (0, 1)
        assert json.loads(client.hget(CATALOG, "p") or "")["name"] == "last"
        assert client.hexists(CATALOG, "q")
        client.flushall()
        products.update_one({"_id": "q"}, {"$set": {"price": 2}})
        catalogue.turn()
        assert set(client.hkeys(CATALOG)) == {"p", "q"}
