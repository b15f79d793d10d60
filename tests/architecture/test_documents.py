"""What the documents name, the code has, and the other way round."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

import pytest

from deploy.local.parts import SERVERS_OF
from deploy.local.settings import HANDED_ON, PORTS, REDIS_URL, Sizes
from reccore import layout
from reccore.dead_letters import Reason
from reccore.event_types import EventTypes
from reccore.followed_topics import FollowedTopics
from reccore.job import JOB_NAME
from reccore.metric_names import MetricName
from reccore.namespaces import PREFIX
from reccore.totals import APPLIED_PREFIX, DEAD_PREFIX, READ_PREFIX, UNTAGGED
from recsvc.metrics import METRICS
from recsvc.stored_metrics import STORED_METRICS
from reweigh.archive.metrics import METRICS as ARCHIVE_METRICS
from reweigh.archive.run import GROUPS as ARCHIVE_GROUPS
from reweigh.archive.schema import RATING_SCHEMA, SCHEMA
from reweigh.archive.settings import SETTINGS
from reweigh.canary.metrics import METRICS as CANARY_METRICS
from reweigh.follow.follower import GROUP as FOLLOW_GROUP
from reweigh.follow.metrics import METRICS as FOLLOW_METRICS
from reweigh.rabbitmq.metrics import METRICS as BRIDGE_METRICS
from reweigh.rabbitmq.settings import SETTINGS as RABBITMQ_SETTINGS

DOCS = Path(__file__).resolve().parents[2] / "docs"


def table(document: str, heading: str) -> dict[str, str]:
    """The rows of the first table under a heading, by each name in back quotes of their first cell."""
    text = (DOCS / document).read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows: dict[str, str] = {}
    for line in re.findall(r"^\| `.*\|$", text, re.MULTILINE):
        for name in re.findall(r"`([^`]+)`", line.split("|")[1]):
            rows[name] = line
    assert rows, f"no table under {heading} of {document}"
    return rows


def check_metrics(heading: str, metrics: Iterable[MetricName]) -> None:
    """Name, kind, labels and meaning of each metric are in the table under this heading, and no other."""
    rows = dict[str, str]()
    for each in metrics:
        labels = ", ".join(f"`{label}`" for label in each.labels)
        rows[each.name] = f"| `{each.name}` | {each.kind} | {labels} | {each.meaning} |"
    assert table("metrics.md", heading) == rows


def test_who_names_metrics_says_where_they_are() -> None:
    """On the page of all metrics."""
    named = r"/metrics`[^.|]*?the names are in \[\S+\]\((\S+)\)"
    said = [target for page in DOCS.glob("*.md") for target in re.findall(named, page.read_text(encoding="utf-8"))]
    assert said == ["metrics.md"] * len(said)
    assert said


def test_redis_keys() -> None:
    """Every key of the layout is in the data dictionary, and no other."""
    user = "<id>"
    keys = {layout.profile_key(user), layout.counts_key(user), layout.purchased_key(user)}
    keys |= {layout.items_key(user), layout.recent_key(user), layout.arrivals_key(user), layout.DROPPED_ITEMS}
    keys |= {layout.ratings_key(user), layout.interests_key(user), layout.about_interests_key(user)}
    keys |= {layout.recommendations_key(user), layout.PUBLISHING}
    keys |= {layout.PRODUCT_STATISTICS, layout.TAG_STATISTICS, layout.TOTALS, layout.DROPPED_TAGS, layout.CHANGES}
    keys |= {layout.WRITING, layout.VERIFY_OUTCOME, layout.CANARY_OUTCOME}
    keys |= {layout.CATALOG_DETAILS, layout.CATALOG_REMOVED, layout.FOLLOWED}
    keys |= {layout.MODEL_CURRENT, layout.MODEL_VERSION, layout.MODEL_BLOBS}
    keys |= {layout.model_blob_key("<version>", "<name>", "<n>")}
    of_slots = (layout.slot_writes_key, layout.slot_followed_key, layout.slot_witness_key)
    keys |= {re.sub(r"\d+", "<tag>", key(0)) for key in of_slots}
    keys |= {layout.CATALOG, layout.CATALOG_VERSION, layout.WEIGHTS_IN_FORCE, layout.WRITER_EPOCH, layout.WRITER_FENCE}
    keys |= {layout.EXCHANGE}
    keys.add(f"{PREFIX}<name>:{{<tag>}}:<key>")
    rows = table("data_dictionary.md", "Redis")
    assert set(rows) == keys
    for name in (READ_PREFIX, APPLIED_PREFIX, DEAD_PREFIX, UNTAGGED):
        assert name in rows[layout.TOTALS]


def test_metrics() -> None:
    """Name, kind, labels and meaning of every metric are on the page of metrics."""
    check_metrics("Metrics of the service", METRICS)
    check_metrics("Metrics of Redis and the job's writing", STORED_METRICS)


def test_no_label_grows_with_users_or_products() -> None:
    """Every label of every table is one whose values are routes, types, reasons, processes and the like."""
    bounded = {"outcome", "topic", "event_type", "reason", "name", "source", "ranking", "limit", "method", "status"}
    bounded |= {"route", "pid", "writer", "action", "trigger", "queue", "node"}
    tables = (METRICS, STORED_METRICS, BRIDGE_METRICS, ARCHIVE_METRICS, FOLLOW_METRICS, CANARY_METRICS)
    assert {label for metrics in tables for metric in metrics for label in metric.labels} == bounded


def test_metrics_of_the_bridge() -> None:
    """The same of those of the bridge and the sender."""
    check_metrics("Metrics of the bridge and the sender", BRIDGE_METRICS)


def test_columns_and_metrics_of_the_archive() -> None:
    """Every column of the Parquet files is explained, in their order, and so is every metric."""
    assert list(table("data_dictionary.md", "Parquet")) == SCHEMA.names
    assert list(table("data_dictionary.md", "Parquet of ratings")) == RATING_SCHEMA.names
    check_metrics("Metrics of the archive", ARCHIVE_METRICS)


def test_metrics_of_the_follower() -> None:
    """The same of those of `reweigh follow`."""
    check_metrics("Metrics of the follower", FOLLOW_METRICS)


def test_metrics_of_the_canary() -> None:
    """The same of those of `reweigh canary`."""
    check_metrics("Metrics of the canary", CANARY_METRICS)


def test_settings_of_rabbitmq() -> None:
    """Every setting of the bridge and the sender is explained, and no other."""
    assert set(table("rabbitmq.md", "Settings")) == set(RABBITMQ_SETTINGS)


def test_settings_of_the_archive() -> None:
    """Every setting is in the table."""
    assert set(table("archive.md", "Run it")) == set(SETTINGS)


def test_topics_and_groups_that_acls_are_given_for() -> None:
    """Each topic, and each consumer group that offsets are committed in, is in what the document says of Kafka."""
    text = (DOCS / "security.md").read_text(encoding="utf-8").partition("\n## Kafka\n")[2].partition("\n## ")[0]
    types = EventTypes.from_settings({})
    names = {*types.by_topic, types.dead_letter_topic, *FollowedTopics().names, *ARCHIVE_GROUPS.values(), FOLLOW_GROUP}
    assert [name for name in sorted({*names, JOB_NAME}) if f"`{name}`" not in text] == []


def test_reasons() -> None:
    """Every reason for a dead letter is explained."""
    assert set(table("data_dictionary.md", "Kafka")) >= set(Reason)


def test_settings_of_the_stack() -> None:
    """Every setting is in the table, those of sizes with their defaults."""
    rows = table("local_stack.md", "What can be set")
    sizes = {f"REWEIGH_{field.name.upper()}": field.default for field in fields(Sizes)}
    assert set(rows) == {*sizes, *(f"REWEIGH_{port.upper()}_PORT" for port in PORTS), *HANDED_ON, REDIS_URL}
    for name, default in sizes.items():
        assert re.search(rf"\b{default}\b", rows[name].split("|")[2]), f"{name} is {default}"


def test_tests_that_documents_name_exist() -> None:
    """`file::test` in back quotes is a function of that file."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", (DOCS / "security.md").read_text(encoding="utf-8"))
    assert named
    assert not [f"{file}::{name}" for file, name in named if f"def {name}(" not in (DOCS.parent / file).read_text()]


@pytest.mark.parametrize("document", sorted(path.name for path in DOCS.glob("*.md")))
def test_files_that_documents_name_exist(document: str) -> None:
    """A path of this repository in back quotes, or behind a link, is there."""
    text = (DOCS / document).read_text(encoding="utf-8")
    folders = "reccore|redisaccess|zkconfig|flink_jobs|recsvc|deploy|reweigh|bench|tests|docs"
    named = re.findall(rf"`((?:{folders})/[\w./]+)`", text)
    missing = [name for name in named if not (DOCS.parent / name).exists()]
    missing += [link for link in re.findall(r"\]\(([\w./-]+)\)", text) if not (DOCS / link).exists()]
    assert not missing


def test_the_architecture_names_what_there_is() -> None:
    """Every process of the stack has its row, every file that is named exists; topics and parts are in the picture."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in re.findall(r"^\| .*\|$", text, re.MULTILINE)][2:]
    processes = {name for row in rows for name in re.findall(r"`([^`]+)`", row[2])}
    assert processes == {server for servers in SERVERS_OF.values() for server in servers}
    files = set(re.findall(r"`((?:recsvc|flink_jobs|reweigh|deploy|reccore)/[^`]*)`", text))
    assert files
    assert [name for name in files if not (DOCS.parent / name).exists()] == []
    picture = text.split("```")[1]
    types = EventTypes.from_settings({})
    drawn = {*types.by_topic, types.dead_letter_topic, *FollowedTopics().names}
    drawn |= {name for row in rows for name in row[1].partition(", of ")[0].strip().split(", ")}
    drawn |= {"reweigh train", "reweigh recommend publish"}
    assert sorted(name for name in drawn if name not in picture) == []
