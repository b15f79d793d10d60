"""The system at rest: when it is, and what all of Redis must hold then."""

from __future__ import annotations

import json
import time
import urllib.request
from collections import Counter
from typing import Any, cast

import redis
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from deploy.local import Stack
from faults.errors import DoesNotHold
from faults.jobs import wait_for_checkpoint
from faults.ledger import RECENT_EVENTS, TOPICS, Ledger
from faults.patience import PATIENCE_SECONDS, wait_until
from reccore import encoding, layout
from reccore.job import JOB_NAME

HOUSEKEEPING = {
    layout.CHANGES,
    layout.DROPPED_ITEMS,
    layout.DROPPED_TAGS,
    layout.WEIGHTS_IN_FORCE,
    layout.WRITER_EPOCH,
    layout.WRITER_FENCE,
    layout.CATALOG,
    layout.CATALOG_DETAILS,
    layout.CATALOG_REMOVED,
    layout.CATALOG_VERSION,
    layout.FOLLOWED,
    layout.PUBLISHING,
    layout.VERIFY_OUTCOME,
    layout.CANARY_OUTCOME,
    layout.WRITING,
}


def answer(whole: Stack, path: str, body: object = None) -> Any:
    """GET, or PUT with a body; gives the JSON."""
    request = urllib.request.Request(
        whole.env["API_URL"] + path,
        method="GET" if body is None else "PUT",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "X-API-Key": whole.env["CONFIG_API_KEY"]},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def whole_answer(whole: Stack, path: str) -> Any:
    """GET until the answer is not one from memory: on a busy machine Redis may take longer than the service waits."""
    deadline = time.monotonic() + 30
    while (found := answer(whole, path))["degraded"] and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


def put_weights(whole: Stack, ledger: Ledger, weights: dict[str, float]) -> int:
    """Set the weights over HTTP, book them, and give their version."""
    version = int(answer(whole, "/api/config/weights", weights)["version"])
    ledger.book_weights(weights, version)
    return version


def applied(client: redis.Redis) -> int:
    """Events that the job has applied, by its own totals."""
    totals = cast("dict[str, str]", client.hgetall(layout.TOTALS))
    return sum(int(count) for name, count in totals.items() if name.startswith("applied:"))


def wait_for_progress(client: redis.Redis, events: int = 1) -> None:
    """Wait until the job has applied so many events more than by now."""
    enough = applied(client) + events
    wait_until("events applied", lambda: applied(client) >= enough)


def compare_at_rest(whole: Stack, client: redis.Redis, ledger: Ledger) -> None:
    """Wait until the whole of Redis equals the recount, and see that this is the end of it.

    At a checkpoint no write is outstanding: one that began after all was equal changes nothing any more.
    """
    _wait_until_counted(client, ledger)
    settle(whole, ledger)
    _wait_for_scores(whole, client, ledger)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while differences(client, ledger) and time.monotonic() < deadline:
        time.sleep(0.3)
    compare(client, ledger)
    wait_for_checkpoint(whole.env["FLINK_REST"])
    compare(client, ledger)


def compare_after_recovery(whole: Stack, client: redis.Redis, ledger: Ledger) -> None:
    """Wait until a checkpoint covers the last record, and compare the whole of Redis with the recount, once.

    What Redis holds may stem from before a recovery, so it does not tell how far the job is. Committed offsets do: they
    come with a completed checkpoint (and then only once the reader's poll, of ten seconds, has come back).
    """
    _wait_until_counted(client, ledger)
    bootstrap = whole.env["KAFKA_BOOTSTRAP"]
    ends = _end_offsets(bootstrap)
    settle(whole, ledger)
    wait_until("a checkpoint covers every record", lambda: _committed_offsets(bootstrap) == ends, pause=0.5)
    _wait_for_scores(whole, client, ledger)
    compare(client, ledger)


def settle(whole: Stack, ledger: Ledger) -> None:
    """See that Kafka holds what was booked, and settle what was in doubt."""
    by_topic: Counter[str] = Counter()
    for (topic, _), end in _end_offsets(whole.env["KAFKA_BOOTSTRAP"]).items():
        by_topic[topic] += end
    ledger.settle(by_topic)


def _wait_until_counted(client: redis.Redis, ledger: Ledger) -> None:
    wait_until("all events applied", lambda: applied(client) >= ledger.applied.total())


def _wait_for_scores(whole: Stack, client: redis.Redis, ledger: Ledger) -> None:
    def swept() -> bool:
        version, swept = cast("list[str | None]", client.hmget(layout.WEIGHTS_IN_FORCE, ["version", "swept"]))
        in_force = answer(whole, "/api/config/weights")
        return bool(version == swept == str(in_force["version"]) and in_force["version"] >= ledger.version)

    wait_until("the scores of the last weights", swept)


def _end_offsets(bootstrap: str) -> dict[tuple[str, int], int]:
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    known = admin.list_topics(timeout=30).topics
    partitions = [TopicPartition(topic, number) for topic in TOPICS.values() for number in known[topic].partitions]
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    found = admin.list_offsets(dict.fromkeys(partitions, latest))
    ends = {(each.topic, each.partition): future.result().offset for each, future in found.items()}
    return {partition: end for partition, end in ends.items() if end > 0}


def _committed_offsets(bootstrap: str) -> dict[tuple[str, int], int]:
    """Give what is committed; nothing while a broker that was just restarted does not tell."""
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})  # one that has seen no broker die
    try:
        found = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(JOB_NAME)], request_timeout=10)
        committed = found[JOB_NAME].result().topic_partitions
    except KafkaException:
        return {}
    return {(each.topic, each.partition): each.offset for each in committed if each.offset > 0}


def compare(client: redis.Redis, ledger: Ledger) -> None:
    """Compare the whole of Redis with the recount."""
    wrong = differences(client, ledger)
    if wrong:
        raise Differs(wrong)


class Differs(DoesNotHold):
    """Redis at rest is not the recount; ``differences`` tells each."""

    def __init__(self, differences: list[str]) -> None:
        super().__init__(f"{len(differences)} differences: {differences[:8]}")
        self.differences = differences


def differences(client: redis.Redis, ledger: Ledger) -> list[str]:
    """Tell what differs between Redis and the recount, key by key, what is missing and what is too much."""
    found, wanted = _stored(client), _wanted(ledger)
    for key in [*HOUSEKEEPING, *filter(layout.is_arrivals_key, found), *filter(_comes_from_elsewhere, found)]:
        found.pop(key, None)
    for product, (columns, newest_ms, tags) in found[layout.PRODUCT_STATISTICS].items():
        seen = ledger.tags_seen.get(product, {()})
        found[layout.PRODUCT_STATISTICS][product] = [columns, newest_ms, tuple(tags) in seen]
    return [
        f"{key} {name}: {_part(found, key, name)} instead of {_part(wanted, key, name)}"
        for key in found.keys() | wanted.keys()
        for name in {*found.get(key, ()), *wanted.get(key, ())}
        if _part(found, key, name) != _part(wanted, key, name)
    ]


def _comes_from_elsewhere(key: str) -> bool:
    """Whether a key follows from other topics than those of the events, or from training."""
    return layout.is_followed_key(key) or layout.is_model_key(key)


def _part(keys: dict[str, Any], key: str, name: str) -> Any:
    value = keys.get(key, {})
    return value.get(name) if isinstance(value, dict) else name in value


def _stored(client: redis.Redis) -> dict[str, Any]:
    """Every key of Redis: hashes as dictionaries, sets as sets, others by their type's name alone."""
    keys = list(client.scan_iter(count=1_000))
    with client.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.type(key)
        types = pipeline.execute()
        for key, kind in zip(keys, types, strict=True):
            if kind == "zset":
                pipeline.zrange(key, 0, -1, withscores=True)
            else:
                {"hash": pipeline.hgetall, "set": pipeline.smembers}.get(kind, pipeline.type)(key)
        stored = dict(zip(keys, pipeline.execute(), strict=True))
    for key in (layout.PRODUCT_STATISTICS, layout.TAG_STATISTICS):
        stored[key] = {name: json.loads(value) for name, value in stored.get(key, {}).items()}
    for key, value in stored.items():
        if key.endswith(("}:counts", "}:items")):
            stored[key] = {tag: encoding.compared_part(row) for tag, row in value.items()}
        elif key.endswith("}:recent"):
            stored[key] = _recent(Counter(_without_place(member, time_ms) for member, time_ms in value), len(value))
    return stored


def _without_place(member: str, time_ms: float) -> tuple[int, str, str]:
    """Give an event's time, type and product: the ledger knows no offsets."""
    code, _, _, product = member.split(":", 3)
    return int(time_ms), list(TOPICS)[int(code)], product


def _recent(events: Counter[tuple[int, str, str]], number: int) -> dict[str, int]:
    """How many are there, and each of them, but for those of the oldest time where some had to go.

    Which of these went follows from their offsets.
    """
    oldest = min(time_ms for time_ms, *_ in events) if number == RECENT_EVENTS else -1
    return {"all": number} | {str(event): count for event, count in events.items() if event[0] > oldest}


def _wanted(ledger: Ledger) -> dict[str, Any]:
    """The same as it must be, by the documents."""
    totals = {
        **{f"read:{topic}": count for topic, count in ledger.read.items()},
        **{f"applied:{kind}": count for kind, count in ledger.applied.items()},
        **{f"dead:{reason}": count for reason, count in ledger.dead.items()},
        **({"untagged": ledger.untagged} if ledger.untagged else {}),
    }
    wanted: dict[str, Any] = {
        layout.TOTALS: {name: str(count) for name, count in totals.items()},
        layout.PRODUCT_STATISTICS: {
            name: [row.columns(), row.newest_ms, True]  # true: its tags are those of one of its events
            for name, row in ledger.products.items()
        },
        layout.TAG_STATISTICS: {name: [row.columns(), row.newest_ms] for name, row in ledger.tags.items()},
    }
    for user in ledger.users:
        wanted[f"user:profile:{user}"] = {tag: _as_text(score) for tag, score in ledger.scores(user).items()}
        wanted[f"{{user:profile:{user}}}:counts"] = {
            tag: f"{','.join(map(str, row.columns()))};{row.newest_ms}" for tag, row in ledger.kept(user).items()
        }
    for user in ledger.items:
        wanted[f"{{user:profile:{user}}}:items"] = {
            product: f"{','.join(map(str, row.columns()))};{row.newest_ms}"
            + (f";{1000 * row.took_ms}:{row.timed}" if row.timed else "")
            for product, row in ledger.kept_items(user).items()
        }
    for user, events in ledger.recent.items():
        newest = Counter(sorted(events.elements(), reverse=True)[:RECENT_EVENTS])
        wanted[f"{{user:profile:{user}}}:recent"] = _recent(newest, newest.total())
    for user, products in ledger.purchases.items():
        wanted[f"{{user:profile:{user}}}:purchased"] = set(products)
    return wanted


def _as_text(score: float) -> str:
    return str(int(score)) if score == int(score) else repr(score)
