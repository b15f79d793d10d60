"""What `/metrics` tells besides requests."""

from __future__ import annotations

import time

import redis
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from deploy.local.stack import Stack
from reccore import encoding, layout
from reccore.write_figures import WriteFigures
from recsvc import metrics
from recsvc.metrics import collected_text
from recsvc.services import show_metrics
from recsvc.stored_figures import StoredFiguresReader
from recsvc.stored_metrics import STORED_METRICS, StoredCollector
from recsvc.user_store import StoredUser
from tests.recsvc.conftest import Bench
from tests.waiting import wait_until


def series(bench: Bench) -> set[str]:
    """Every series of the service, without the values."""
    return {line.rpartition(" ")[0] for line in bench.http.get("/metrics").text.splitlines() if line[:1] != "#"}


def test_nobody_makes_series_grow(bench: Bench) -> None:
    """However many users, products, paths and methods are asked for: there is one series a route, method and status."""
    paths = ("/recommend/{}", "/profile/{}", "/products/{}", "/similar/{}", "/{}", "/recommend/{}?n=x")

    def ask(name: str) -> None:
        for path in paths:
            bench.http.get(path.format(name))
        bench.http.open("/livez", method=name.upper())

    ask("first")
    series(bench)  # which is a request, too
    before = series(bench)
    for number in range(30):
        ask(f"name{number}")
    assert series(bench) == before
    assert any('route="/recommend/<anytext:user_id>"' in each for each in before)


def fallbacks() -> dict[str, float]:
    """How many there were, by reason."""
    reasons = ("redis_away", "zookeeper_away", "no_profile", "filled_up")
    return {each: REGISTRY.get_sample_value(metrics.FALLBACKS.name, {"reason": each}) or 0.0 for each in reasons}


def test_fallbacks_by_reason(bench: Bench) -> None:
    """Each reason is counted for what it is, and nothing where there is none."""
    counts = encoding.encode_counts([1, 0, 0], int(bench.clock[0] * 1000))
    bench.users.users["known"] = StoredUser({"shoes": counts}, frozenset())
    before = fallbacks()
    bench.http.get("/recommend/known")
    assert fallbacks() == before
    bench.http.get("/recommend/stranger")
    bench.users.up = False
    bench.http.get("/recommend/known")
    bench.users.up = True
    bench.zookeeper.set_up(False)
    wait_until(lambda: not bench.weights.connected)
    bench.http.get("/recommend/known")
    added = {reason: count - before[reason] for reason, count in fallbacks().items()}
    assert added == {"redis_away": 1, "zookeeper_away": 1, "no_profile": 1, "filled_up": 0}


def test_time_of_a_weights_change(bench: Bench) -> None:
    """It is measured in a process that hears of it, and the version is shown for that process."""
    name = metrics.WEIGHTS_DELAY.name
    show_metrics(bench.weights)
    before = REGISTRY.get_sample_value(f"{name}_count") or 0.0
    bench.zookeeper.write("/config/recommendation/weights", b'{"view": 2, "add_to_cart": 3, "purchase": 5}')
    wait_until(lambda: REGISTRY.get_sample_value(f"{name}_count") == before + 1)


def test_what_redis_tells(stack: Stack, database: redis.Redis) -> None:
    """Its size, users by estimate, how writing goes, what was verified; every metric of the table and no other."""
    figures = WriteFigures()
    figures.write_rows.add(20)
    figures.write_seconds.add(0.004)
    figures.event_seconds.add(0.12)
    database.hset(layout.WRITING, "WriteProfiles/1/0", figures.encode())
    verified = {"differences": 3, "records": 90, "finished_ms": int(time.time() * 1000) - 60_000}
    database.hset(layout.VERIFY_OUTCOME, mapping=verified)
    for number in range(300):
        database.hset(layout.profile_key(f"u{number}"), "tag", "1")
        database.set(f"other:{number}", "1")
    reader = StoredFiguresReader(stack.addresses.redis_url, timeout_ms=2_000)
    text = collected_text(StoredCollector(reader.read)).decode()
    reader.stop()
    samples = {
        sample.name + sample.labels.get("le", ""): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["reweigh_redis_keys"] == 602
    assert 150 < samples["reweigh_users_estimated"] < 450  # a draw of 500 keys is further off once in a million times
    assert samples["reweigh_redis_used_bytes"] > 100_000
    assert samples["reweigh_verify_differences"] == 3
    assert samples["reweigh_verify_age_seconds"] >= 60
    assert samples["reweigh_event_to_redis_seconds_bucket0.1"] == 0
    assert samples["reweigh_event_to_redis_seconds_bucket0.15"] == 1
    assert samples["reweigh_redis_write_rows_sum"] == 20
    found = {name.partition("_bucket")[0].removesuffix("_sum").removesuffix("_count") for name in samples}
    assert found == {metric.name for metric in STORED_METRICS}


def test_nothing_is_told_of_a_redis_that_is_away() -> None:
    """Neither an old figure nor a zero that is none."""
    reader = StoredFiguresReader("redis://127.0.0.1:1", timeout_ms=50)
    assert collected_text(StoredCollector(reader.read)) == b""
    reader.stop()
