"""What followers write, on one server and on a cluster: two at once, stopped anywhere, data lost, slots on the move."""

from __future__ import annotations

import itertools
import json
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis

from deploy.local.ports import HOST
from reccore import layout
from reccore.followed_topics import FollowedTopics
from reccore.interests import InterestProfile, Interests
from reccore.ratings import Rated, decode_rated
from reccore.slots import slot
from redisaccess.exchange import Command
from redisaccess.links import ClusterLink
from redisaccess.slot_scripts import SlotScript
from reweigh.follow import on_cluster
from reweigh.follow.table import Batch, Changes, Judged, Table
from reweigh.follow.tables import tables_of
from reweigh.follow.writing import writing_of
from reweigh.topic_source import Place
from tests.redis_modes import GROUNDS, Ground
from tests.redisaccess.test_moving_slots import move

TOPICS = FollowedTopics()
TABLES = {table.topic: table for table in tables_of(TOPICS)}
USERS = [f"u{number}" for number in range(25)] + ["a{b}c"]
PRODUCTS = [f"p{number}" for number in range(12)]
TIME_MS = 1_600_000_000_000
Record = tuple[bytes | None, bytes | None]
Log = dict[Place, list[Record]]


class KilledError(Exception):
    """A follower ends here."""


@pytest.fixture(scope="module", params=["server", "cluster"])
def ground(request: pytest.FixtureRequest) -> Iterator[Ground]:
    """One server, or three that are a cluster."""
    with GROUNDS[request.param]() as started:
        yield started


@pytest.fixture
def client(ground: Ground) -> Iterator[Any]:
    """A client, of an empty Redis."""
    ground.empty()
    with ground.client() as found:
        yield found


@dataclass
class Wanted:
    """What Redis has to hold in the end."""

    lists: dict[str, int | None] = field(default_factory=dict)
    products: dict[str, int | None] = field(default_factory=dict)
    ratings: dict[str, dict[str, Rated]] = field(default_factory=dict)
    interests: dict[str, Interests] = field(default_factory=dict)


def made_up(draw: random.Random, count: int) -> tuple[Log, Wanted]:
    """Records of the four topics: ratings and interests in any order and partition, the others by their key."""
    log: Log = {(topic, number): [] for topic in TABLES for number in range(2)}
    wanted = Wanted()
    for number in range(count):
        user, product, time_ms = draw.choice(USERS), draw.choice(PRODUCTS), TIME_MS + draw.randrange(40)
        gone = draw.random() < 0.2
        told: dict[str, Any] = {"product_id": product, "price": number}
        log[TOPICS.product_catalog, PRODUCTS.index(product) % 2].append(
            (product.encode(), None if gone else json.dumps(told | {"description": f"{number}"}).encode())
        )
        wanted.products[product] = None if gone else number
        told = {"user_id": user, "products": [{"product_id": "p", "score": number}]}
        log[TOPICS.recommendations, USERS.index(user) % 2].append(
            (user.encode(), None if gone else json.dumps(told).encode())
        )
        wanted.lists[user] = None if gone else number
        rated = Rated(time_ms, draw.randrange(1, 11) / 2)
        told = {"user_id": user, "product_id": product, "rating": rated.rating, "timestamp": rated.time_ms}
        log[TOPICS.ratings, draw.randrange(2)].append((None, json.dumps(told).encode()))
        of_user = wanted.ratings.setdefault(user, {})
        of_user[product] = max(rated, of_user.get(product, rated))
        profile = InterestProfile(user, time_ms, draw.randrange(3), {f"t{draw.randrange(4)}": 2.0, "t": 1.0}, 7)
        told = {"user_id": user, "timestamp": time_ms, "tags": dict(profile.tags), "weights_version": 7}
        told["items"] = [{"item_id": "p"}] * profile.items
        log[TOPICS.user_behavior, draw.randrange(2)].append((None, json.dumps(told).encode()))
        interests = Interests.of(profile)
        wanted.interests[user] = max(interests, wanted.interests.get(user, interests))
    return log, wanted


class Reader:
    """A follower that reads a log in memory."""

    def __init__(self, ground: Ground, log: Log, tables: Mapping[str, Table], draw: random.Random) -> None:
        self._client = ground.client()
        self._writing = writing_of(self._client)
        self._log, self._tables, self._draw = log, tables, draw
        self.known = self._writing.positions()

    def turn(self) -> bool:
        """Take some records; gives whether there were any, or the positions had changed."""
        ends = dict[Place, int]()
        judged: dict[str, list[Judged]] = {}
        for place, records in self._log.items():
            start = self.known.get(place, 0)
            for offset in range(start, min(start + self._draw.randrange(12), len(records))):
                record = self._tables[place[0]].judge(*records[offset], TIME_MS)
                judged.setdefault(place[0], []).append(Judged(place, offset, record))
                ends[place] = offset + 1
        batch = Batch(ends, [(self._tables[topic], each) for topic, each in judged.items()])
        if ends and self._writing.write(batch, self.known):
            self.known |= ends
            return True
        before, self.known = self.known, self._writing.positions()
        return bool(ends) or before != self.known

    def is_done(self) -> bool:
        """Whether Redis says that it has had everything."""
        self.known = self._writing.positions()
        return all(self.known.get(place, 0) == len(records) for place, records in self._log.items())

    def close(self) -> None:
        """Leave Redis."""
        self._client.close()


class Meddled:
    """A table between whose reading and writing something happens."""

    def __init__(self, table: Table, meddle: Callable[[], None]) -> None:
        self._table, self._meddle = table, meddle
        self.topic, self.version_key, self.judge, self.keys = table.topic, table.version_key, table.judge, table.keys

    def changes(self, judged: Sequence[Any]) -> Changes:
        """Those of the table."""
        changes = self._table.changes(judged)
        read = changes.read

        def meddled(client: Any) -> None:
            read(client)
            self._meddle()

        changes.read = meddled  # type: ignore[method-assign]
        return changes


def meddle_with_scripts(monkeypatch: pytest.MonkeyPatch, draw: random.Random, meddle: Callable[[], None]) -> None:
    """Have scripts for several slots sent in two parts, in any order, with something in between."""
    carry_out = SlotScript.carry_out

    def in_parts(self: SlotScript, link: ClusterLink, calls: Sequence[Command], *, again: bool = False) -> list[Any]:
        order = draw.sample(range(len(calls)), len(calls))
        part = draw.randrange(len(calls) + 1)
        answers: dict[int, Any] = {}
        for numbers in (order[:part], order[part:]):
            answers |= zip(numbers, carry_out(self, link, [calls[each] for each in numbers]), strict=True)
            meddle()
        return [answers[number] for number in range(len(calls))]

    monkeypatch.setattr(SlotScript, "carry_out", in_parts)


def lists_of(client: Any) -> dict[str, int | None]:
    """The number of each user's list."""
    texts = {user: client.get(layout.recommendations_key(user)) for user in USERS}
    return {user: text and json.loads(text)["products"][0]["score"] for user, text in texts.items()}


def products_of(client: Any) -> dict[str, int | None]:
    """The price of each product, None of those that are removed."""
    rows = {name: json.loads(row)["price"] for name, row in client.hgetall(layout.CATALOG).items()}
    removed = dict.fromkeys(client.hgetall(layout.CATALOG_REMOVED))
    details = client.hgetall(layout.CATALOG_DETAILS)
    assert {name: json.loads(text)["description"] for name, text in details.items()} == {
        name: f"{price:.0f}" for name, price in rows.items()
    }
    assert not rows.keys() & removed.keys()
    return rows | removed


def check(client: Any, wanted: Wanted) -> None:
    """Redis holds what it has to."""
    assert lists_of(client) == dict.fromkeys(USERS) | wanted.lists
    assert products_of(client) == wanted.products
    for user, ratings in wanted.ratings.items():
        rows = client.hgetall(layout.ratings_key(user))
        assert {product: decode_rated(text) for product, text in rows.items()} == ratings
    for user, interests in wanted.interests.items():
        vector, about = (client.hgetall(key(user)) for key in (layout.interests_key, layout.about_interests_key))
        assert Interests.stored(vector, about) == interests


@pytest.mark.parametrize("seed", [1, 2])
def test_stopped_anywhere_beside_another(
    ground: Ground, client: Any, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Nothing is left out, no older list ever comes back, and whoever holds the catalogue hears of its last change."""
    draw = random.Random(seed)
    log, wanted = made_up(draw, 300)
    depth, newest, heard = itertools.count(), dict[str, int](), list[Any]([None, None])
    nested = [0]

    def watch() -> None:
        for user, number in lists_of(client).items():
            if number is not None:
                assert number >= newest.get(user, 0)
                newest[user] = number
        version = client.get(layout.CATALOG_VERSION)
        if version != heard[0]:
            heard[:] = version, client.hgetall(layout.CATALOG)

    def meddle() -> None:
        if nested[0] > 1:
            return
        chance = draw.random()
        if chance < 0.1:
            raise KilledError
        if chance < 0.3:
            nested[0] += 1
            try:
                another = Reader(ground, log, tables, draw)
                for _ in range(draw.randrange(1, 4)):
                    another.turn()
                another.close()
            except KilledError:
                pass
            finally:
                nested[0] -= 1
        if next(depth) % 5 == 0:
            watch()

    tables: dict[str, Any] = {topic: Meddled(table, meddle) for topic, table in TABLES.items()}
    meddle_with_scripts(monkeypatch, draw, meddle)
    reader = Reader(ground, log, tables, draw)
    for _ in range(2_000):
        if reader.is_done():
            break
        try:
            reader.turn()
        except KilledError:
            reader.close()
            reader = Reader(ground, log, tables, draw)
    assert reader.is_done()
    reader.close()
    check(client, wanted)
    watch()
    assert heard[1] == client.hgetall(layout.CATALOG)


@pytest.mark.parametrize("seed", [1, 2])
def test_data_lost_in_between(ground: Ground, client: Any, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """One of the servers is emptied at any moment: what it held comes again, what others hold stays."""
    draw = random.Random(seed)
    log, wanted = made_up(draw, 300)
    left = [4]

    def meddle() -> None:
        if left[0] and draw.random() < 0.04:
            left[0] -= 1
            with draw.choice(ground.servers).admin() as admin:
                admin.flushall()

    tables: dict[str, Any] = {topic: Meddled(table, meddle) for topic, table in TABLES.items()}
    meddle_with_scripts(monkeypatch, draw, meddle)
    readers = [Reader(ground, log, tables, draw) for _ in range(2)]
    for turn in range(2_000):
        if not left[0] and readers[0].is_done():
            break
        if all(readers[0].known.get(place) == len(records) for place, records in log.items()):
            meddle()
        readers[turn % 2].turn()
    assert readers[0].is_done()
    for reader in readers:
        reader.close()
    check(client, wanted)


def test_no_two_hashes_of_the_catalogue_are_in_one_slot() -> None:
    """As each is written by itself, and its version after them."""
    keys = [*TABLES[TOPICS.product_catalog].keys("p"), layout.CATALOG_VERSION]
    assert len(set(map(slot, keys))) == 4


@pytest.mark.parametrize("ground", ["cluster"], indirect=True)
def test_slots_on_the_move(ground: Ground, client: Any) -> None:
    """Users and witnesses among them: the follower waits it out, and nobody's row is missing."""
    draw = random.Random(5)
    log, wanted = made_up(draw, 2_000)
    failed = list[BaseException]()

    def read() -> None:
        reader = Reader(ground, log, TABLES, draw)
        while not failed:
            try:
                if not reader.turn() and reader.is_done():
                    break
            except (redis.RedisError, OSError):
                reader.close()
                reader = Reader(ground, log, TABLES, draw)
        reader.close()

    thread = threading.Thread(target=read)
    thread.start()
    try:
        for number in (0, 256, slot(layout.CATALOG), *(slot(layout.recommendations_key(user)) for user in USERS[:6])):
            move(ground, number)
    except BaseException as exc:
        failed.append(exc)
        raise
    finally:
        thread.join(120)
    check(client, wanted)


class InThrees(random.Random):
    """Takes three records of a partition at a time."""

    def randrange(self, *_: Any) -> int:
        """Say so."""
        return 3


@pytest.mark.parametrize("ground", ["cluster"], indirect=True)
@pytest.mark.parametrize("is_loss", [False, True], ids=["killed", "node-emptied"])
def test_at_each_step(ground: Ground, client: Any, monkeypatch: pytest.MonkeyPatch, is_loss: bool) -> None:
    """Killed, or the catalogue's node emptied, after each exchange: all rows come, and who holds them hears of it."""
    exchange, left, heard = ClusterLink.ask_once, [0], list[Any]([None, []])
    names = [f"p{number}" for number in range(6)]
    log: Log = {(TOPICS.product_catalog, 0): [(None, json.dumps({"product_id": each}).encode()) for each in names]}

    def hear() -> None:
        if (version := client.get(layout.CATALOG_VERSION)) != heard[0]:
            heard[:] = version, client.hkeys(layout.CATALOG)

    def counted(self: ClusterLink, commands: Sequence[Command]) -> list[Any]:
        hear()
        answers = exchange(self, commands)
        left[0] -= 1
        if left[0] == 0:
            if not is_loss:
                raise KilledError
            client.server_of(layout.CATALOG).flushall()
        return answers

    monkeypatch.setattr(ClusterLink, "ask_once", counted)
    for steps in itertools.count(1):
        ground.empty()
        heard[:] = None, []
        reader = Reader(ground, log, TABLES, InThrees())
        assert reader.turn()
        left[0] = steps
        with suppress(KilledError):
            reader.turn()
        reader.close()
        if left[0] > 0:
            assert steps > 4
            break
        reader = Reader(ground, log, TABLES, InThrees())
        while not reader.is_done():
            reader.turn()
        reader.close()
        assert sorted(client.hkeys(layout.CATALOG)) == names
        hear()
        assert is_loss or sorted(heard[1]) == names


@pytest.mark.parametrize("ground", ["cluster"], indirect=True)
def test_a_node_that_lost_its_last_writes(ground: Ground, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a failover, however many of them: they come again, also where only one slot of the node is a witness."""
    monkeypatch.setattr(on_cluster, "_SPREAD", range(0))
    owners = client.slots()
    (server,) = (each for each in ground.servers if owners[slot("")] == f"{HOST}:{each.port}")
    of_node = [number for number, name in owners.items() if name == owners[slot("")]]
    in_witness = next(name for name in map(str, itertools.count()) if slot(f"recommendations:{name}") == min(of_node))
    here = [user for user in USERS if slot(layout.recommendations_key(user)) in of_node][:3]
    there = [user for user in USERS if slot(layout.recommendations_key(user)) not in of_node][:3]
    users = [user for batch in zip(itertools.repeat(in_witness), here, there) for user in batch]
    log: Log = {(TOPICS.recommendations, 0): []}
    for number, user in enumerate(users):
        told = {"user_id": user, "products": [{"product_id": "p", "score": number}]}
        log[TOPICS.recommendations, 0].append((user.encode(), json.dumps(told).encode()))
    carry_out, sent = SlotScript.carry_out, list[Command]()

    def noted(self: SlotScript, link: ClusterLink, calls: Sequence[Command], *, again: bool = False) -> list[Any]:
        sent.extend(call for call in calls if slot(str(call[3])) in of_node)
        return carry_out(self, link, calls, again=again)

    def follow() -> None:
        reader = Reader(ground, log, TABLES, InThrees())
        while not reader.is_done():
            reader.turn()
        reader.close()
        for user in users:
            kept = json.loads(client.get(layout.recommendations_key(user)) or "null")
            assert kept, user
            assert kept["products"][0]["score"] == max(n for n, each in enumerate(users) if each == user)

    with monkeypatch.context() as patched:
        patched.setattr(SlotScript, "carry_out", noted)
        follow()
    assert len(sent) > 2 * len(here)
    for kept in range(len(sent)):
        with server.admin() as admin:
            admin.flushall()
            for each in sent[:kept]:
                admin.execute_command(*each)
        follow()
