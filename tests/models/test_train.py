"""`reweigh train`: what it reads, what it holds out, what it prints and publishes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from argparse import ArgumentTypeError
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pytest

from deploy.local import Stack
from reccore import layout
from reccore.event_types import EventTypes
from reccore.weights import parse_weights
from recsvc.models.model import BLEND, MOST_POPULAR
from recsvc.models.scorer import Scorer
from recsvc.models.store import ModelStore
from reweigh.answers import Answers
from reweigh.archive.errors import StoreTrouble
from reweigh.archive.store import LocalStore
from reweigh.arguments import duration
from reweigh.cli import main
from reweigh.dataset import Dataset
from reweigh.errors import CommandError
from reweigh.train.events import TEST, VALIDATION, EventTable, event_table
from reweigh.train.interactions import interactions_of, people_of
from reweigh.train.lift import LiftAnswers
from reweigh.train.measuring import ALS, LIFT, NEIGHBOURS
from reweigh.train.sources import read_archive, read_files
from tests.archive.making import records, writing
from tests.reweigh.test_evaluation import NAMES, lines, random_shop
from tests.waiting import wait_until

TYPES = EventTypes.from_settings({})
WEIGHTS = parse_weights({"view": 1, "add_to_cart": 3, "purchase": 5}, TYPES)


@pytest.fixture
def shop(tmp_path: Path) -> Dataset:
    """A small data set in ``tmp_path``."""
    return random_shop(tmp_path, seed=4)


@pytest.fixture
def table(shop: Dataset, tmp_path: Path) -> Iterator[EventTable]:
    """Its events, of which all people are a sample."""
    (tmp_path / "database").mkdir()
    with event_table(tmp_path / "database", NAMES) as found:
        read_files(found, [tmp_path / "events.jsonl", tmp_path / "products.jsonl"], TYPES)
        assert found.prepare(1_000) == len(shop.users)
        yield found


def held_out(table: EventTable, shop: Dataset) -> npt.NDArray[np.bool_]:
    """Flags of the events that are held out; they stand in the order of the data set."""
    flags = np.zeros(len(shop.users), dtype=np.bool_)
    flags[[place for (place,) in table.database.sql("SELECT place FROM held").fetchall()]] = True
    return flags


def test_events_are_counted_as_from_arrays(table: EventTable, shop: Dataset) -> None:
    """SQL and arrays give the same rows, with everything and with the known part."""
    flags = held_out(table, shop)
    for chosen, held in ((np.ones_like(flags), False), (~flags, True)):
        found, wanted = table.interactions(held_out=held), interactions_of(shop, chosen)
        rows = [
            Counter(
                {
                    (each.product_ids[product], tuple(counts)): 1
                    for product, counts in zip(each.products.tolist(), each.counts.tolist(), strict=True)
                }
            )
            for each in (found, wanted)
        ]
        assert rows[0] == rows[1]
        assert found.events == wanted.events == chosen.sum()
        assert found.people == wanted.people
        assert np.array_equal(found.users, wanted.users)


def test_the_newest_of_everybody_are_held_out(table: EventTable, shop: Dataset) -> None:
    """A fifth of each person's events, none older than a known one; the halves share nobody."""
    flags = held_out(table, shop)
    for user in range(len(shop.user_ids)):
        mine = shop.users == user
        known, later = shop.times_ms[mine & ~flags], shop.times_ms[mine & flags]
        assert len(known) == max(1, int(mine.sum() * 0.8 + 1e-9))
        assert not len(later) or known.max() <= later.min()
    halves = [table.people(VALIDATION), table.people(TEST)]
    names = [{person.user_id for person in half} for half in halves]
    assert not names[0] & names[1]
    numbers = {user_id: number for number, user_id in enumerate(shop.user_ids)}
    everybody = {tuple(sorted(each.relevant)): each for each in people_of(shop, ~flags, flags)}
    for person in (*halves[0], *halves[1]):
        wanted = everybody[tuple(sorted(person.relevant))]
        assert (person.counts, person.left_out) == (wanted.counts, wanted.left_out)
        assert person.user_id in numbers
    assert len(halves[0]) + len(halves[1]) == len(people_of(shop, ~flags, flags))
    assert abs(len(halves[0]) - len(halves[1])) <= 3


def test_lift_is_what_the_service_ranks_without_a_model(table: EventTable, shop: Dataset) -> None:
    """The lists are those of `reweigh eval`, by the same known events."""
    answers = Answers(shop, ~held_out(table, shop), WEIGHTS, None)
    lift, people = LiftAnswers(table, WEIGHTS), [*table.people(TEST), *table.people(VALIDATION)]
    assert people
    for person in people:
        user = shop.user_ids.index(person.user_id)
        assert lift.ranked(person, 10) == [shop.product_ids[each] for each in answers.recommended(user, 10)]
        assert lift.popular(person, 10) == [shop.product_ids[each] for each in answers.popular(user, 10)]


def test_a_sample_of_people(shop: Dataset, tmp_path: Path) -> None:
    """Of more people so many are a sample, the same each time, and nothing of the others is held out."""
    found = []
    for turn in range(2):
        folder = tmp_path / f"database-{turn}"
        folder.mkdir()
        with event_table(folder, NAMES) as table:
            read_files(table, [tmp_path / "events.jsonl"], TYPES)
            table.prepare(6)
            found.append(table.database.sql("SELECT user_id FROM sampled ORDER BY number").fetchall())
            held = held_out(table, shop)
    assert found[0] == found[1]
    assert len(found[0]) == 6
    assert {shop.user_ids[user] for user in shop.users[held].tolist()} <= {user_id for (user_id,) in found[0]}


def test_the_archive_holds_the_same_events(shop: Dataset, tmp_path: Path) -> None:
    """Read from Parquet, of the types that are configured."""
    by_type: dict[str, list[bytes]] = {name: [] for name in NAMES}
    for each in lines(tmp_path / "events.jsonl"):
        by_type[each["event_type"]].append(json.dumps(each).encode())
    store = LocalStore(tmp_path / "archive")
    with writing(store, tmp_path / "state") as writer:
        for topic, name in zip(TYPES.topics.values(), NAMES, strict=True):
            writer.take(records(by_type[name], topic=topic))
        writer.flush()
    told: list[tuple[str, int, int]] = []
    with event_table(tmp_path, NAMES) as table:
        read_archive(table, store, lambda *each: told.append(each))
        events = table.prepare(1_000)
        assert told[-1] == ("archived events", events, events)
        # Which of several events of one id is kept is left to arrival, so only their number is told.
        assert events == len(shop.users)
        assert table.interactions(held_out=False).people == len(shop.user_ids)
    (tmp_path / "other").mkdir()
    with event_table(tmp_path / "other", NAMES[:1]) as table:
        read_archive(table, store, lambda *_: None)
        assert 0 < table.prepare(10) < events
        with pytest.raises(CommandError, match="no archive"):
            read_archive(table, LocalStore(tmp_path / "nothing"), lambda *_: None)


@pytest.mark.usefixtures("shop")
def test_a_dry_run_prints_what_it_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As text and as JSON; nothing is needed but the files."""
    (tmp_path / "none.env").write_text("")
    dry = ["train", "--data", str(tmp_path), "--dry-run", "--env", str(tmp_path / "none.env"), "--factors", "4"]
    assert main(dry) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in (MOST_POPULAR, LIFT, NEIGHBOURS, ALS, BLEND, "not published"))
    assert main([*dry, "--output", "json", "--weights", "0,0,1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["version"] is None
    assert found["weights"] == {"view": 0, "add_to_cart": 0, "purchase": 1}
    assert set(found["qualities"]) == {MOST_POPULAR, LIFT, NEIGHBOURS, ALS, BLEND}
    assert found["choice"]["rank"] == 4
    assert found["best"] in (MOST_POPULAR, LIFT, BLEND)


@pytest.mark.usefixtures("shop")
def test_what_is_trained_is_published(
    stack: Stack, database: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the weights in force, under the next version; what can't be trained leaves the model before."""
    database.hset(layout.WEIGHTS_IN_FORCE, "document", '{"view": 1, "add_to_cart": 3, "purchase": 7}')
    env = tmp_path / "redis.env"
    env.write_text(f"REDIS_URL={stack.addresses.redis_url}\n")
    command = ["train", "--data", str(tmp_path), "--env", str(env), "--factors", "4"]
    for version in (1, 2):
        assert main(command) == 0
        assert f"version {version} is published" in capsys.readouterr().out
    with closing(ModelStore(stack.addresses.redis_url)) as store:
        model = store.load(store.current())
        assert model.version == 2
        assert model.training["weights"] == {"view": 1, "add_to_cart": 3, "purchase": 7}
        assert Scorer(model).rank({model.product_ids[0]: 1.0}, left_out=(), n=5)
        (tmp_path / "events.jsonl").write_text('{"user_id": ""}\n')
        assert main(command) == 1
        assert "no valid event" in capsys.readouterr().err
        assert store.current()["version"] == "2"


@pytest.mark.usefixtures("shop")
def test_again_and_again_until_it_is_ended(stack: Stack, database: Any, tmp_path: Path) -> None:
    """What fails is told of and comes again; SIGTERM ends it with 0, in the middle of whatever it does."""
    env = tmp_path / "redis.env"
    env.write_text(f"REDIS_URL={stack.addresses.redis_url}\n")
    events = tmp_path / "events.jsonl"
    whole = events.read_text()
    events.write_text('{"user_id": ""}\n')
    command = ["train", "--data", str(tmp_path), "--env", str(env), "--factors", "4", "--every", "1s"]
    with (tmp_path / "told").open("w") as told:
        process = subprocess.Popen([sys.executable, "-m", "reweigh.cli", *command], stderr=told, stdout=told)
        try:
            wait_until(lambda: "no valid event" in (tmp_path / "told").read_text(), seconds=120)
            events.write_text(whole)
            wait_until(lambda: "version 2 is published" in (tmp_path / "told").read_text(), seconds=120)
            process.send_signal(signal.SIGTERM)
            assert process.wait(120) == 0
        finally:
            process.kill()
            process.wait()
    assert int(database.get(layout.MODEL_VERSION) or 0) >= 2


def test_where_to_publish_is_asked_for_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not after an hour of training."""
    (tmp_path / "none.env").write_text("")
    assert main(["train", "--data", str(tmp_path), "--env", str(tmp_path / "none.env")]) == 1
    assert "REDIS_URL is not set" in capsys.readouterr().err


def test_nobody_to_measure_by(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where everybody has one event, a model is trained all the same, and nothing is claimed of it."""
    rows = [{"user_id": f"u{n}", "product_id": f"p{n % 3}", "event_type": "view", "timestamp": n} for n in range(9)]
    (tmp_path / "events.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    (tmp_path / "none.env").write_text("")
    assert main(["train", "--data", str(tmp_path), "--dry-run", "--env", str(tmp_path / "none.env")]) == 0
    assert "nobody has events to measure by" in capsys.readouterr().out


def test_lengths_of_time() -> None:
    """A number and a unit."""
    assert [duration(text) for text in ("90s", "30m", "1h", "2d")] == [90, 1_800, 3_600, 172_800]
    for text in ("", "h", "1", "0h", "-1h", "1.5h", "1w", "²h"):
        with pytest.raises(ArgumentTypeError, match="is allowed"):
            duration(text)


@pytest.mark.parametrize("trouble", [StoreTrouble("the bucket is away"), duckdb.IOException("the disk is full")])
def test_trouble_of_the_archive_ends_one_training_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    """As an error that the next turn of ``--every`` outlives."""

    def refuse(*_: object) -> None:
        raise trouble

    monkeypatch.setattr("reweigh.train.command.read_archive", refuse)
    (tmp_path / "none.env").write_text("")
    assert main(["train", "--from", "archive", "--dry-run", "--env", str(tmp_path / "none.env")]) == 1
    assert f"nothing was trained: {trouble}" in capsys.readouterr().err
