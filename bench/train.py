"""What training takes in time and memory, and what an answer by the model takes."""

from __future__ import annotations

import json
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from bench.commands import reweigh
from bench.report import Report, quantile
from bench.synthetic import TOPICS, TYPES
from bench.workbench import Workbench
from recsvc.models.model import Model
from recsvc.models.scorer import Scorer
from recsvc.models.store import ModelStore
from reweigh.archive.log import Log
from reweigh.archive.manifest import DataFile, Manifest, Totals
from reweigh.archive.schema import EVENTS as ARCHIVED_EVENTS
from reweigh.archive.schema import SCHEMA, action_of, by_day
from reweigh.archive.store import LocalStore, Store
from reweigh.archive.writer import stage

PARTS = ("redis",)
EVENTS, EVENTS_QUICK = 20_000_000, 200_000
USERS, USERS_QUICK = 200_000, 5_000
PRODUCTS, PRODUCTS_QUICK = 100_000, 2_000
FEW_PRODUCTS: Final = 1_700
HISTORY: Final = 50
_TASTES: Final = 50
_MIX: Final = (0.967, 0.025, 0.008)
_ROWS: Final = 500_000
_START_MS: Final = 1_700_000_000_000
_PATIENCE_SECONDS: Final = 7_200.0
_CALLS: Final = 500


def measure(bench: Workbench) -> Report:
    """Write an archive, train on it by the command, and ask the published model."""
    events = bench.size("events", EVENTS, EVENTS_QUICK)
    users, products = bench.size("users", USERS, USERS_QUICK), bench.size("products", PRODUCTS, PRODUCTS_QUICK)
    folder = bench.stack.home.path / "train-archive"
    bench.tell(f"writing an archive of {events:,} events")
    _write_archive(LocalStore(folder), events, users, products)
    bench.tell("training")
    found = _trained(bench, folder)
    with closing(ModelStore(bench.redis_url())) as store:
        model = store.load(store.current())
    answers = {len(each.product_ids): _microseconds(each) for each in (_of_few(model), model)}
    rows = [
        ("seconds, from reading to published", round(found["seconds"])),
        ("most resident memory, MiB", found["peak_mib"]),
        ("products in the model", found["products"]),
        *(
            (f"NDCG@10 of {name}, of made-up tastes", round(each["ndcg"]["mean"], 3))
            for name, each in found["qualities"].items()
        ),
        *(
            (f"one answer, {size:,} products, {what}: µs", round(value))
            for size, each in answers.items()
            for what, value in each.items()
        ),
    ]
    return Report(
        title=f"train: {events:,} events of {users:,} users with {products:,} products",
        columns=("", "value"),
        rows=tuple(rows),
        notes=(
            "the command `reweigh train --from archive`, with what it measures by and a second training on everything",
            f"an answer: the scorer alone, histories of {HISTORY} products, the ten best; processor time of its thread",
        ),
        data={"trained": found, "answers_microseconds": {str(size): each for size, each in answers.items()}},
    )


def _write_archive(store: Store, events: int, users: int, products: int) -> None:
    """Write an archive as `reweigh archive run` leaves one; half of a user's events are with products of one taste."""
    draw, files = np.random.default_rng(5), list[DataFile]()
    for start in range(0, events, _ROWS):
        rows = _rows(draw, start, min(_ROWS, events - start), users, products)
        files += [
            stage(store, day, (at, ARCHIVED_EVENTS), "bench", f"{start:012d}-{n}")
            for n, (at, day) in enumerate(by_day(rows))
        ]
    log = Log(store)
    manifest = Manifest(
        number=1,
        archive="bench",
        token="bench",  # noqa: S106 (names a commit)
        cluster="bench",
        flushes=1,
        offsets={},
        totals=Totals(read=events, archived=events),
        written_at=0.0,
        added=tuple(files),
    )
    log.settle(log.commit(log.read(), manifest))


def _rows(draw: np.random.Generator, start: int, size: int, users: int, products: int) -> pa.Table:
    # The low numbers more often, so that a tenth has about half of the draws.
    user = (users * draw.random(size) ** 3).astype(np.int64)
    product = (products * draw.random(size) ** 3).astype(np.int64)
    own = draw.random(size) < 0.5
    product[own] = np.minimum(product[own] // _TASTES * _TASTES + user[own] % _TASTES, products - 1)
    kinds = draw.choice(3, size, p=_MIX)
    times = _START_MS + 1_000 * np.arange(start, start + size, dtype=np.int64)
    columns: dict[str, Any] = {
        "user_id": _named("user-", user),
        "item_id": _named("product-", product),
        "action": pa.array([action_of(each) for each in TYPES]).take(pa.array(kinds)),
        "process_time": pa.array(times / 1_000),
        "hit_flink": pa.array(np.ones(size, dtype=np.bool_)),
        "event_id": pa.array(map(str, range(start, start + size)), pa.string()),
        "event_type": pa.array(TYPES).take(pa.array(kinds)),
        "timestamp_ms": pa.array(times),
        "topic": pa.array(TOPICS).take(pa.array(kinds)),
        "partition": pa.array(np.zeros(size, dtype=np.int32)),
        "offset": pa.array(np.arange(start, start + size, dtype=np.int64)),
        "arrived_ms": pa.array(times),
    }
    return pa.table([columns.get(field.name, pa.nulls(size, field.type)) for field in SCHEMA], schema=SCHEMA)


def _named(prefix: str, numbers: Any) -> pa.Array:
    return pa.array(np.char.add(prefix, numbers.astype(str)).tolist(), pa.string())


def _trained(bench: Workbench, folder: Path) -> dict[str, Any]:
    env = folder.with_suffix(".env")
    env.write_text(f"REDIS_URL={bench.redis_url()}\n")
    options = ("--from", "archive", "--url", str(folder), "--env", str(env), "--weights", "1,3,5", "--output", "json")
    found: dict[str, Any] = json.loads(reweigh(("train",), options, _PATIENCE_SECONDS))
    return found


def _of_few(model: Model) -> Model:
    """Give a model of the size of MovieLens: the first products, with neighbours among them."""
    few = min(FEW_PRODUCTS, len(model.product_ids) - 1)
    factors = model.factors[:few]
    return replace(
        model,
        product_ids=model.product_ids[:few],
        neighbours=model.neighbours[:few] % np.int32(few),
        similarities=model.similarities[:few].copy(),
        factors=factors.copy(),
        gram=factors.T.astype(np.float64) @ factors.astype(np.float64),
    )


def _microseconds(model: Model) -> dict[str, float]:
    """Give p50 and p95 of an answer."""
    scorer, draw = Scorer(model), np.random.default_rng(1)
    size, taken = len(model.product_ids), list[float]()
    for _ in range(_CALLS):
        places = (size * draw.random(HISTORY) ** 3).astype(np.int64).tolist()
        history = {model.product_ids[place]: float(draw.integers(1, 20)) for place in places}
        began = time.thread_time_ns()
        scorer.rank(history, left_out=history, n=10)
        taken.append((time.thread_time_ns() - began) / 1_000)
    return {"p50": quantile(taken, 0.5), "p95": quantile(taken, 0.95)}
