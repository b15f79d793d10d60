"""`reweigh demo`: real people's events through the whole system, a model, and a weights change taking effect."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from recsvc.recommender import POPULAR, TAGS
from redisaccess.clients import client_of
from reweigh.at_rest import wait_until_applied
from reweigh.catalog import load_catalog
from reweigh.errors import CommandError
from reweigh.http_client import Service
from reweigh.loading import counting_bar, load_events, progress_bar
from reweigh.movielens import EVENTS, write_movielens
from reweigh.settings import Settings

PERSON: Final = "275"
"""Somebody whose newest events are views, carts and purchases, and whose answer depends on what they weigh."""

PURCHASES_ONLY: Final = {"view": 0, "add_to_cart": 0, "purchase": 1}
_SHOWN: Final = 8
_WEIGHTS_SECONDS: Final = 10.0
_MODEL_SECONDS: Final = 30.0


class Demo:
    """The demonstration against the stack that ``settings`` name; ``folder`` is for its data."""

    def __init__(self, settings: Settings, folder: Path, cache: Path) -> None:
        self._settings = settings
        self._folder = folder
        self._cache = cache
        self._service = Service(settings.required("API_URL"), settings.api_key)
        self._titles: dict[str, str] = {}

    def run(self, person: str = PERSON) -> None:
        """Load, wait, show, train, show, change the weights, show, change back. Raises :class:`CommandError`."""
        heading("Data: MovieLens-100k, 100,000 ratings that 943 people gave 1,682 films")
        events, products = write_movielens(self._folder, self._cache)
        self._titles = {each["product_id"]: each["name"] for each in _objects(products)}
        print("Ratings of 1 and 2 stars are views, 3 add to cart, 4 and 5 purchases; genres are the tags.")
        self._load(events, products)
        heading(f"Person {person}: the newest events")
        self._show_history(events, person)
        before = self._service.weights()["weights"]
        heading(f"GET /recommend/{person} with the weights in force")
        self._show_answer(self._service.recommend(person, _SHOWN))
        heading("reweigh train: which films are taken together")
        self._show_answer(self._trained(person))
        heading(f"PUT /api/config/weights {json.dumps(PURCHASES_ONLY)}")
        try:
            answer, milliseconds = self._change(person, PURCHASES_ONLY)
            print(
                f"From the PUT to the first answer by the new weights: {milliseconds:.0f} ms. Nothing was replayed.\n"
            )
            self._show_answer(answer)
        finally:
            self._service.put_weights(before)
        print(f"\nThe weights are as before again: {json.dumps(before)}")
        heading("The stack keeps running")
        self._show_addresses(person)

    def _load(self, events: Path, products: Path) -> None:
        settings = self._settings
        # The catalogue comes first: an event without tags takes those that the catalogue has when it is processed.
        with client_of(settings.required("REDIS_URL"), socket_timeout=10.0) as client:
            with progress_bar(products) as bar:
                stored, rejected = load_catalog(products, client, bar)
            print(f"{stored:,} products in the catalogue" + (f", {rejected} lines rejected" if rejected else ""))
            report = load_events(events, settings.required("KAFKA_BOOTSTRAP"), settings.event_types)
            print("\n".join(report.lines()))
            began = time.monotonic()
            with counting_bar(EVENTS, "applied by the job", " records") as progress:

                def tell(done: int, of: int) -> None:
                    progress.total = of
                    progress.update(done - progress.n)

                totals = wait_until_applied(
                    client, settings.required("KAFKA_BOOTSTRAP"), settings.event_types, tell=tell
                )
        applied, dead = sum(totals.applied.values()), sum(totals.dead.values())
        print(
            f"{totals.records_in:,} records in = {applied:,} applied + {totals.duplicates:,} duplicates "
            f"+ {dead:,} dead letters, at rest after {time.monotonic() - began:.1f} s"
        )
        if totals.duplicates:
            print("(Duplicates: the same events were loaded before, and each counts once.)")

    def _show_history(self, events: Path, person: str) -> None:
        own = sorted(
            (each for each in _objects(events) if each["user_id"] == person), key=lambda each: each["timestamp"]
        )
        if not own:
            raise CommandError(f"nobody in MovieLens-100k is called {person}: ids are 1 to 943")
        for each in own[: -_SHOWN - 1 : -1]:
            day = datetime.fromtimestamp(each["timestamp"], tz=UTC).strftime("%Y-%m-%d %H:%M")
            print(f"  {day}  {each['event_type']:<12} {self._titles[each['product_id']]}")
        print(f"  … {len(own):,} events in all")

    def _show_answer(self, answer: Mapping[str, Any]) -> None:
        print(f"weights version {answer['weights_version']}, from the {answer['source']}\n")
        print("  profile          score     recommended because of")
        tags = [(each["tag"], f"{each['score']:,g}") for each in answer["tags"]]
        products = [(each["source"], each["product_id"]) for each in answer["products"]]
        for (tag, score), (source, product) in zip_longest(tags, products, fillvalue=("", "")):
            print(f"  {tag:<14} {score:>7}     {source:<11} {self._titles.get(product, product)}".rstrip())

    def _change(self, person: str, weights: Mapping[str, float]) -> tuple[dict[str, Any], float]:
        began = time.perf_counter()
        version = self._service.put_weights(weights)["version"]
        while True:
            answer = self._service.recommend(person, _SHOWN)
            milliseconds = (time.perf_counter() - began) * 1000
            if answer["weights_version"] >= version:
                return answer, milliseconds
            if milliseconds > _WEIGHTS_SECONDS * 1000:
                raise CommandError(f"no answer by weights version {version} within {_WEIGHTS_SECONDS:.0f} s")
            time.sleep(0.005)

    def _trained(self, person: str) -> dict[str, Any]:
        """Train as anybody would, and give the first answer by the model."""
        command = (sys.executable, "-m", "reweigh.cli", "train", "--env", str(self._settings.source))
        if subprocess.run(command, check=False).returncode:
            raise CommandError("training failed")
        print()
        deadline = time.monotonic() + _MODEL_SECONDS
        while True:
            answer = self._service.recommend(person, _SHOWN)
            if not {each["source"] for each in answer["products"]} <= {TAGS, POPULAR}:
                return answer
            if time.monotonic() > deadline:
                raise CommandError(f"no answer by the model within {_MODEL_SECONDS:.0f} s")
            time.sleep(0.1)

    def _show_addresses(self, person: str) -> None:
        settings = self._settings
        for name, address in (
            ("API", settings.api_url),
            ("its documentation", f"{settings.api_url}/docs"),
            ("Flink", settings.flink_rest),
            ("Kafka", settings.kafka_bootstrap),
            ("ZooKeeper", settings.zookeeper_hosts),
            ("Redis", settings.redis_url),
        ):
            print(f"  {name:<18} {address}")
        print(
            f"\nAll of them are in {settings.source}. Three commands to try:\n\n"
            f"  curl '{settings.api_url}/recommend/{person}?n=5'\n"
            "  .venv/bin/reweigh weights set view=0 add_to_cart=1 purchase=10\n"
            f"  .venv/bin/reweigh eval --data {_relative(self._folder)}\n\n"
            "`make status` shows the stack, `make down` stops it."
        )


def heading(text: str) -> None:
    """Print a heading."""
    print(f"\n{text}\n{'─' * len(text)}", flush=True)


def _relative(folder: Path) -> Path:
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _objects(file: Path) -> list[dict[str, Any]]:
    with file.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
