"""`reweigh catalog …` and `reweigh follow`: what they take, and what each does."""

from __future__ import annotations

import argparse
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from reccore.access import redis_url_setting, secret_setting
from reccore.followed_topics import FollowedTopics
from reweigh.arguments import add_command, add_env, add_group, duration
from reweigh.errors import CommandError, need
from reweigh.lines import AUTO, CSV, JSON_LINES, PARQUET
from reweigh.repeating import again_and_again, interruptible
from reweigh.settings import chosen_values, read_settings, values_and_own

_MONGODB_URL: Final = ("MONGODB_URL", "MONGODB_URL_FILE")
_FOLLOW: Final = """Follow four topics into Redis: what product-catalog tells of products is in the catalogue, and a
record without a value takes its key's product out; what users have rated (ratings) stands beside their profiles; what
their last events say of tags (user_behavior) becomes a vector of interests; and a list that was computed ahead
(recommendations) takes the place of the user's last one.

How far it is stands in Redis itself, so nothing is left out or done twice, and a Redis that has lost its data gets
everything again. Bad records go to the dead-letter topic. Ends on SIGTERM or Ctrl-C."""


def add_catalog_commands(subparsers: Any) -> None:
    """Describe them."""
    _add_catalog(subparsers)
    what = "carry products, ratings, interest profiles and lists computed ahead from their topics into Redis"
    add_env(add_command(subparsers, "follow", what, follow, _FOLLOW))


def _add_catalog(subparsers: Any) -> None:
    group = add_group(subparsers, "catalog", "the catalogue of products")
    what = (
        "store the products of a file (JSON lines or CSV: product_id, name, tags, price, category, description, "
        "attributes) in Redis"
    )
    load = add_command(group, "load", what, catalog_load)
    send = add_command(group, "send", "send them to the topic product-catalog", catalog_send)
    for each in (load, send):
        each.add_argument("file", type=Path, metavar="FILE")
        each.add_argument("--format", choices=(AUTO, JSON_LINES, CSV, PARQUET), default=AUTO)
    _add_mongodb(group)
    remove = add_command(group, "remove", "take products out of the catalogue in Redis", catalog_remove)
    remove.add_argument("product_ids", nargs="+", metavar="ID")
    for each in (load, remove):
        each.add_argument("--redis-url", metavar="URL", help="default: REDIS_URL")
        add_env(each)
    add_env(send)


def _add_mongodb(group: Any) -> None:
    what = "store the products of a MongoDB collection in Redis, and remove those that vanish from it"
    mongodb = add_command(group, "mongodb", what, catalog_mongodb)
    mongodb.add_argument("--url", metavar="URL", help="mongodb://host:port/database; default: MONGODB_URL")
    mongodb.add_argument("--collection", default="products", metavar="NAME", help="default: products")
    mongodb.add_argument("--every", type=duration, metavar="TIME", help="again and again, e.g. 60s, until SIGTERM")
    mongodb.add_argument(
        "--remove-missing", action="store_true", help="also what the catalogue has already and the collection has not"
    )
    mongodb.add_argument("--redis-url", metavar="URL", help="default: REDIS_URL")
    add_env(mongodb)


def catalog_mongodb(options: argparse.Namespace) -> int:
    """`reweigh catalog mongodb`: exit code 1 when documents were rejected, or could not be read."""
    mongodb = need("reweigh.mongodb", "mongodb")
    url = options.url or _mongodb_url(options)
    with _redis(options) as client, mongodb.collection(url, options.collection) as documents:
        catalogue = mongodb.MongoCatalogue(documents, client, remove_missing=options.remove_missing)
        if options.every is None:
            return _told_turn(catalogue.turn())
        with interruptible(), suppress(KeyboardInterrupt):
            again_and_again(options.every, lambda: _told_turn(catalogue.turn()))
    return 0


def _mongodb_url(options: argparse.Namespace) -> str:
    url = secret_setting(
        values_and_own(options.env, _MONGODB_URL), _MONGODB_URL[0], lambda file: Path(file).read_text("utf-8")
    )
    if not url:
        raise CommandError("no collection is named: set MONGODB_URL or MONGODB_URL_FILE, or give --url")
    return url


def _told_turn(turn: Any) -> int:
    return _told(f"{turn.stored:,} products stored, {turn.removed:,} removed", turn.rejected, "documents")


def catalog_load(options: argparse.Namespace) -> int:
    """`reweigh catalog load`: exit code 1 when lines were rejected."""
    catalog, loading = need("reweigh.catalog", "data"), need("reweigh.loading", "data")
    with _redis(options) as client, loading.progress_bar(options.file) as bar:
        stored, rejected = catalog.load_catalog(options.file, client, bar, options.format)
    return _told(f"{stored:,} products stored", rejected)


def catalog_send(options: argparse.Namespace) -> int:
    """`reweigh catalog send`: exit code 1 when lines were rejected."""
    catalog, loading, kafka = (need(f"reweigh.{name}", "data") for name in ("catalog", "loading", "kafka"))
    settings, (values, _) = read_settings(options.env), chosen_values(options.env)
    topic = FollowedTopics.from_settings(values, settings.event_types).product_catalog
    bootstrap = settings.required("KAFKA_BOOTSTRAP")
    kafka.check_topics(bootstrap, [topic], access=settings.kafka_access)
    producer = kafka.EventProducer(bootstrap, access=settings.kafka_access)
    with loading.progress_bar(options.file) as bar:
        sent, rejected = catalog.send_catalog(options.file, producer, topic, bar, options.format)
    return _told(f"{sent:,} products sent to {topic}", rejected)


def catalog_remove(options: argparse.Namespace) -> int:
    """`reweigh catalog remove`."""
    with _redis(options) as client:
        need("reweigh.catalog", "data").remove_products(options.product_ids, client)
    print(f"{len(set(options.product_ids)):,} products removed")
    return 0


def follow(options: argparse.Namespace) -> int:
    """`reweigh follow`."""
    return int(need("reweigh.follow.command", "follow").follow(options))


def _told(done: str, rejected: int, what: str = "lines") -> int:
    print(done + (f", {rejected:,} {what} rejected" if rejected else ""), flush=True)
    return 1 if rejected else 0


def _redis(options: argparse.Namespace) -> Any:
    given = {"REDIS_URL": options.redis_url} if options.redis_url else {}
    url = redis_url_setting(given, str) or read_settings(options.env).required("REDIS_URL")
    return need("redisaccess.clients", "data").client_of(url, socket_timeout=10.0, socket_connect_timeout=10.0)
