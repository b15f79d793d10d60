"""`reweigh train`: reads, trains, prints, publishes; again and again where that is asked for."""

from __future__ import annotations

import argparse
import json
import logging
import resource
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import duckdb
import redis

from reccore import layout
from reccore.weights import Weights, default_weights, weights_of_record
from recsvc.models.model import Model
from recsvc.models.store import ModelStore
from redisaccess.clients import client_of
from reweigh.archive.settings import read_archive_settings
from reweigh.archive.store import open_store
from reweigh.commands import given_weights
from reweigh.errors import CommandError
from reweigh.progress import Bars
from reweigh.repeating import again_and_again, interruptible
from reweigh.settings import Settings, read_settings
from reweigh.train.events import EventTable, event_table
from reweigh.train.fitting import LENGTH, Choice
from reweigh.train.measuring import lines
from reweigh.train.run import Trained
from reweigh.train.run import train as train_on
from reweigh.train.sources import read_archive, read_files, read_topics
from reweigh.verify.log import EventLog
from reweigh.verify.stored import Stored

log = logging.getLogger(__name__)


def train(options: argparse.Namespace) -> int:
    """Train once, or until SIGTERM or Ctrl-C; then a training that failed is told of, and the next one comes."""
    settings = read_settings(options.env)
    if not options.dry_run:
        settings.required("REDIS_URL")
    with interruptible():
        if options.every is None:
            _once(options, settings)
            return 0
        with suppress(KeyboardInterrupt):
            again_and_again(options.every, lambda: _once(options, settings))
    return 0


def _once(options: argparse.Namespace, settings: Settings) -> None:
    began = time.monotonic()
    weights = _weights(options, settings)
    choice = Choice(
        neighbours=options.neighbours,
        rank=options.factors,
        iterations=options.iterations,
        alpha=options.alpha,
        regularization=options.regularization,
    )
    with (
        tempfile.TemporaryDirectory(prefix="reweigh-train-") as folder,
        Bars() as bars,
        event_table(Path(folder), settings.event_types.names) as table,
    ):
        try:
            _read(table, options, settings, Path(folder), bars)
            trained = train_on(table, weights, choice, options.people, bars.tell)
        except RuntimeError as exc:
            if "Query interrupted" in str(exc):  # what DuckDB makes of KeyboardInterrupt
                raise KeyboardInterrupt from exc
            raise
        except (OSError, duckdb.Error) as exc:  # of the archive's store, of a full disk
            raise CommandError(f"nothing was trained: {exc}") from exc
    model = trained.model
    if not options.dry_run:
        with closing(ModelStore(settings.required("REDIS_URL"))) as store:
            model = store.publish(model)
    seconds = time.monotonic() - began
    if options.every is not None:
        _log(model, seconds)
    elif options.output == "json":
        print(json.dumps(_as_dict(model, seconds), indent=1), flush=True)
    else:
        print("\n".join(_text(trained, model, seconds)), flush=True)


def _log(model: Model, seconds: float) -> None:
    known = {"events": model.training["events"], "people": model.training["people"], "seconds": round(seconds, 1)}
    published = f"version {model.version} is published" if model.version else "not published (--dry-run)"
    log.info(published, extra={"version": model.version, "products": len(model.product_ids), **known})


def _weights(options: argparse.Namespace, settings: Settings) -> Weights:
    if options.weights:
        return given_weights(options.weights, settings.event_types)
    document = None
    if settings.redis_url:
        client: Any = client_of(settings.redis_url, socket_timeout=10.0, socket_connect_timeout=2.0)
        try:
            document = client.hget(layout.WEIGHTS_IN_FORCE, "document")
        except redis.RedisError as exc:
            raise CommandError(f"the weights in force can't be read: {exc}; --weights names others") from exc
        finally:
            client.close()
    if document is None:
        return default_weights(settings.event_types)
    return weights_of_record(document.decode(), settings.event_types)


def _read(table: EventTable, options: argparse.Namespace, settings: Settings, folder: Path, bars: Bars) -> None:
    if options.data:
        read_files(table, options.data, settings.event_types)
        return
    if settings.redis_url:
        with closing(Stored(settings.redis_url)) as stored:
            table.know_catalogue({name: product.tags for name, product in stored.catalogue().items()})
    if options.source == "archive":
        read_archive(table, open_store(options.url or read_archive_settings(options.env).url), bars.tell)
        return
    topics = settings.event_types.topics
    access = settings.kafka_access.librdkafka_options()
    log = EventLog(settings.required("KAFKA_BOOTSTRAP"), topics.values(), access)
    read_topics(table, log, topics, folder, bars.tell)


def _text(trained: Trained, model: Model, seconds: float) -> list[str]:
    known, blend = model.training, model.parameters.blend
    weights = ", ".join(f"{name} {value:g}" for name, value in known["weights"].items())
    products = len(model.product_ids)
    said = [f"{known['events']:,} events, {known['people']:,} people, {products:,} products; weights: {weights}"]
    if trained.qualities:
        said += ["", *lines(trained.qualities), ""]
        said.append(
            f"measured by the newest fifth of the events of {trained.measured_by:,} people, with lists of {LENGTH} "
            "without their known products"
        )
    else:
        said.append("nobody has events to measure by")
    chosen = f", chosen by {trained.chosen_by:,} others, for whom {trained.best} did best" if trained.best else ""
    said.append(f"blend: {1 - blend:.1f} neighbours + {blend:.1f} ALS{chosen}")
    published = f"version {model.version} is published" if model.version else "not published (--dry-run)"
    said.append(f"{published}; {seconds:.1f} s, at most {_peak_mib():,.0f} MiB of memory")
    return said


def _as_dict(model: Model, seconds: float) -> dict[str, object]:
    return {
        "version": model.version or None,
        "trained_at": model.trained_at,
        "products": len(model.product_ids),
        "blend": model.parameters.blend,
        **model.training,
        "seconds": round(seconds, 1),
        "peak_mib": round(_peak_mib()),
    }


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
