"""The promise while everything around the job changes or fails: each time the whole of Redis equals the recount.

The tests go on with the stack, the events and the ledger of ``test_pipeline``. What happens to Redis is in
``test_fault_rows``.
"""

from __future__ import annotations

import json
import urllib.request
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import redis
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]  # its stub leaves it out
from prometheus_client.parser import text_string_to_metric_families

from deploy.local import Stack
from deploy.local.class_archive import archive_file, can_write
from deploy.local.flink_distribution import flink_home
from deploy.local.flink_java import class_path
from faults.at_rest import (
    answer,
    compare_after_recovery,
    compare_at_rest,
    put_weights,
    wait_for_progress,
    whole_answer,
)
from faults.jobs import JobWatch, completed_checkpoint, restored_checkpoint
from faults.ledger import TOPICS
from faults.letters import compare_letters
from faults.patience import wait_until
from faults.traffic import Event, Traffic
from reweigh import cli

pytestmark = pytest.mark.timeout(1_200)


def test_a_further_event_type_counts_and_may_weigh_less_than_nothing(
    whole: Stack, traffic: Traffic, client: redis.Redis
) -> None:
    """A configured type on a topic of its own is counted beside the others, and a negative weight lowers scores."""
    ledger = traffic.ledger
    # The topic says what they are; the wisher has nothing else, so every score of theirs falls below 0.
    wishes: list[Event] = [
        {
            "user_id": user,
            "product_id": f"wish-{n}",
            "timestamp": 1_650_000_000_000 + n,
            "tags": ["wished", f"wish-{n}"],
        }
        for n in range(4)
        for user in ("wisher", "user-0")
    ]
    put_weights(whole, ledger, {"view": 1, "add_to_cart": 3, "purchase": 5})
    before = {user: ledger.scores(user) for user in ledger.users}
    traffic.send(1_000)
    traffic.send_these((wish, "wishlist") for wish in wishes)
    version = put_weights(whole, ledger, {"view": 1, "add_to_cart": 3, "purchase": 5, "wishlist": -2.5})
    compare_at_rest(whole, client, ledger)
    for user in ledger.users:
        found = whole_answer(whole, f"/profile/{user}")
        assert (found["weights_version"], found["degraded"]) == (version, False)
        assert found["tags"] == ledger.scores(user)
    assert answer(whole, "/profile/wisher")["tags"] == {"wished": -10, **{f"wish-{n}": -2.5 for n in range(4)}}
    assert client.hget("user:profile:wisher", "wished") == "-10"
    assert any(ledger.scores(user).get(tag, score) < score for user in before for tag, score in before[user].items())


def test_events_without_tags_take_the_catalogues(
    whole: Stack, traffic: Traffic, client: redis.Redis, tmp_path: Path
) -> None:
    """The catalogue's tags of the moment count where an event names none; without any it counts for its product."""
    ledger = traffic.ledger
    for turn in ("old", "new"):
        catalogue = {f"listed-{n}": [f"shelf-{n % 3}", f"{turn}-{n}"] for n in range(8)} | {"bare": []}
        _load_catalogue(whole, tmp_path / f"{turn}.jsonl", catalogue)
        ledger.catalogue = catalogue
        traffic.send_these(_without_tags(turn, [*catalogue, "unknown-1", "unknown-2"]))
        compare_at_rest(whole, client, ledger)
    browser = answer(whole, "/profile/browser")["tags"]
    assert {"old-1", "new-1", "shelf-1"} <= browser.keys()
    assert answer(whole, "/profile/wanderer")["tags"] == {}
    assert ledger.untagged > 0
    assert ledger.products["unknown-1"].counts.total() > 0


def test_new_partitions_are_read(whole: Stack, traffic: Traffic, client: redis.Redis) -> None:
    """A topic gets two partitions more while the job runs; what arrives in them is counted."""
    with traffic.flowing():
        admin = AdminClient({"bootstrap.servers": whole.env["KAFKA_BOOTSTRAP"]})
        assert len(admin.list_topics(timeout=30).topics[TOPICS["view"]].partitions) == 4
        admin.create_partitions([NewPartitions(TOPICS["view"], 6)])[TOPICS["view"]].result()
    traffic.send_to_partitions("view", (4, 5), 600)
    compare_at_rest(whole, client, traffic.ledger)


def test_a_killed_jobmanager_leaves_one_job_and_every_count_exact(
    whole: Stack, traffic: Traffic, client: redis.Redis
) -> None:
    """The JobManager dies, the job is submitted from the newest checkpoint, and there are never two of it.

    The new JobManager starts from the classes that the old one has left, where there is a Java that can write them.
    """
    rest = whole.env["FLINK_REST"]
    classes = archive_file("jobmanager", class_path(flink_home()))
    if can_write():
        wait_until("its classes are kept", classes.exists)
    with JobWatch(rest) as watch:
        with traffic.flowing(chunk=50):  # the machine has enough to do
            wait_until("the job seen", lambda: watch.seen)
            (first,) = watch.seen
            wait_for_progress(client)
            newest = completed_checkpoint(rest, first)
            whole.kill("jobmanager")
            wait_until("another job runs", lambda: watch.running not in ("", first))
            wait_for_progress(client, 500)
        compare_after_recovery(whole, client, traffic.ledger)
    assert watch.most_at_once == 1
    (second,) = watch.seen - {first}
    restored, path = restored_checkpoint(rest, second)
    assert restored >= newest > 0
    assert first in path
    assert (str(classes) in Path(f"/proc/{whole.pid('jobmanager')}/maps").read_text()) == classes.exists()


def test_weights_changed_in_heavy_traffic_leave_no_older_score(
    whole: Stack, traffic: Traffic, client: redis.Redis
) -> None:
    """Weights are set again and again while many users' events pour in: all scores are of the last ones at rest."""
    documents: list[dict[str, float]] = [
        {"view": 0, "add_to_cart": 0, "purchase": 1, "wishlist": 100},
        {"view": 1, "add_to_cart": 10, "purchase": 100, "wishlist": -1000},
        {"view": 0.25, "add_to_cart": 0, "purchase": 0},
        {"view": 3, "add_to_cart": 2, "purchase": 1, "wishlist": 0.5},
        {"view": 2, "add_to_cart": 1, "purchase": 0, "wishlist": -7},
        {"view": 1.5, "add_to_cart": 4, "purchase": 9, "wishlist": -0.125},
    ]
    versions = []
    with traffic.flowing(chunk=1_500, pause_seconds=0.01, users=3_000):
        for together in (documents[:1], documents[1:3], documents[3:4], documents[4:]):
            wait_for_progress(client, 1_500)
            for document in together:
                versions.append(put_weights(whole, traffic.ledger, document))
                assert answer(whole, "/profile/user-0")["weights_version"] == versions[-1]
        wait_for_progress(client, 1_500)
    assert all(earlier < later for earlier, later in pairwise(versions))
    compare_at_rest(whole, client, traffic.ledger)
    assert client.hget("weights:in_force", "swept") == str(versions[-1])


def test_totals_add_up_after_all_of_it(whole: Stack, traffic: Traffic, client: redis.Redis) -> None:
    """Records in = applied + duplicates + dead letters, as ``/metrics`` shows it, and each is the recount's."""
    ledger = traffic.ledger
    traffic.send(500)
    traffic.poison()
    compare_after_recovery(whole, client, ledger)
    with urllib.request.urlopen(whole.env["API_URL"] + "/metrics", timeout=30) as response:
        families = text_string_to_metric_families(response.read().decode())
        shown = {
            (sample.name, *sample.labels.values()): int(sample.value)
            for family in families
            for sample in family.samples
            if sample.name.startswith(
                ("reweigh_stream_", "reweigh_dead_letters_", "reweigh_untagged_", "reweigh_dropped_")
            )
            and sample.name.endswith("_total")
        }
    records = {outcome: shown["reweigh_stream_records_total", outcome] for outcome in _OUTCOMES}
    assert records == {
        "read": ledger.records,
        "applied": ledger.applied.total(),
        "duplicate": ledger.duplicates,
        "dead": ledger.dead.total(),
    }
    assert records["read"] == records["applied"] + records["duplicate"] + records["dead"]
    assert all(records.values())
    for name, booked in (
        ("reweigh_stream_read_total", ledger.read),
        ("reweigh_stream_applied_total", ledger.applied),
        ("reweigh_dead_letters_total", ledger.dead),
    ):
        assert Counter({key[1]: value for key, value in shown.items() if key[0] == name}) == booked
    assert shown["reweigh_untagged_events_total",] == ledger.untagged
    assert shown["reweigh_dropped_tags_total",] >= ledger.too_many  # a tag that came back in between left twice
    assert ledger.too_many > 0


def test_dead_letters_are_whole_after_all_of_it(whole: Stack, traffic: Traffic) -> None:
    """No recovery has lost a dead letter; a repeated one has the key of the first."""
    compare_letters(whole, traffic.ledger)


_OUTCOMES = ("read", "applied", "duplicate", "dead")


def _load_catalogue(whole: Stack, file: Path, catalogue: dict[str, list[str]]) -> None:
    lines = [json.dumps({"product_id": product, "tags": tags}) for product, tags in catalogue.items()]
    file.write_text("\n".join(lines))
    assert cli.main(["catalog", "load", str(file), "--redis-url", whole.env["REDIS_URL"]]) == 0


def _without_tags(turn: str, products: list[str]) -> list[tuple[Event, str]]:
    """Events of every type and product, tags absent, null, or none on purpose, every third of them twice."""
    events: list[tuple[Event, str]] = []
    for number, product in enumerate(products * 12):
        kind = list(TOPICS)[number % 4]
        event: Event = {
            "event_id": f"{turn}-{number}",
            # What the wanderer looks at stands in no catalogue.
            "user_id": "wanderer" if product.startswith("unknown") else "browser",
            "product_id": product,
            "timestamp": 1_600_000_000_000 + number,
        }
        if number % 5 == 1:
            event["tags"] = None
        elif number % 5 == 2:
            event["tags"] = []
        events += [(event, kind)] * (2 if number % 3 == 0 else 1)
    return events
