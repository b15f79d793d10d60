"""`reweigh topics create`: every topic that the settings name, on a cluster of its own size."""

from __future__ import annotations

import argparse
import time
from typing import Any, Final

from reccore.followed_topics import FollowedTopics
from reccore.topics import topic_configurations
from reweigh.arguments import add_command, add_env, add_group, not_negative, positive
from reweigh.errors import CommandError, need
from reweigh.settings import chosen_values, read_settings

_CREATE: Final = """Create every topic that the settings name and that there is not: those of the events, the
dead letters, and the four that are followed. Records are kept for ever, of tables the newest of each key. What exists
is left as it is.

Partitions can be added later, but then a user's events are no longer in one of them: choose their number for years."""
_AGAIN_SECONDS: Final = 1.0


def add_topic_commands(subparsers: Any) -> None:
    """Describe them."""
    group = add_group(subparsers, "topics", "the topics in Kafka")
    create = add_command(group, "create", "create those that there are not", _create, _CREATE)
    create.add_argument("--partitions", type=positive, default=4, metavar="N", help="of each new topic (4)")
    create.add_argument("--replication-factor", type=positive, default=1, metavar="N", help="of each new topic (1)")
    create.add_argument(
        "--min-insync", type=positive, default=1, metavar="N", help="replicas that acknowledge each record (1)"
    )
    create.add_argument(
        "--wait", type=not_negative, default=0, metavar="SECONDS", help="for brokers that are still starting (0)"
    )
    add_env(create)


def _create(options: argparse.Namespace) -> int:
    """Print a line for each topic that is new."""
    if options.min_insync > options.replication_factor:
        raise CommandError(f"--min-insync {options.min_insync}: at most --replication-factor")
    topics = need("reweigh.topics", "data")
    settings = read_settings(options.env)
    values, _ = chosen_values(options.env)
    followed = FollowedTopics.from_settings(values, settings.event_types)
    in_sync = {"min.insync.replicas": str(options.min_insync)} if options.min_insync > 1 else {}
    wanted = {
        name: {**config, **in_sync} for name, config in topic_configurations(settings.event_types, followed).items()
    }
    deadline = time.monotonic() + options.wait
    while True:
        try:
            cluster = topics.Topics(settings.required("KAFKA_BOOTSTRAP"), settings.kafka_access)
            created = cluster.create_replicated(wanted, options.partitions, options.replication_factor)
            break
        except CommandError as exc:
            if time.monotonic() > deadline:
                raise
            print(f"{exc}; trying again", flush=True)
            time.sleep(_AGAIN_SECONDS)
    for name in created:
        print(f"created {name}")
    print(f"{len(created)} of {len(wanted)} topics created, {len(wanted) - len(created)} were there")
    return 0
