"""What the planner makes of the job; a change of the SQL that costs a second deduplication shows here."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.local import jars, java
from flink_jobs.settings import STATE_VERSION

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def printed() -> dict[str, Any]:
    """The plans and the tasks of the job."""
    jars.fetch_jars(print)
    connector = jars.jar_paths("flink-kafka")[0].as_uri()
    done = subprocess.run(
        [sys.executable, "-m", "tests.flink_jobs.print_plans", connector],
        cwd=CHECKOUT,
        env={**os.environ, "JAVA_HOME": str(java.java_home())},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.fixture(scope="module")
def tasks(printed: dict[str, Any]) -> list[str]:
    """The tasks of the job, each the names of its operators."""
    names: list[str] = printed["tasks"]
    return names


@pytest.fixture(scope="module")
def plans(printed: dict[str, Any]) -> dict[str, dict[str, str]]:
    """All plans of the job by name."""
    by_name: dict[str, dict[str, str]] = printed["plans"]
    return by_name


def test_one_deduplication_that_only_inserts(plans: dict[str, dict[str, str]]) -> None:
    """The first of each identity is chosen once, for everything that counts it, and is never taken back."""
    execution = "".join(plan["execution"] for plan in plans.values())
    assert re.findall(r"Deduplicate\(keep=\[(\w+)\], key=\[(\w+)\]", execution) == [("FirstRow", "identity")]
    assert "Rank(" not in execution
    kinds = re.findall(r"changelogMode=\[([A-Z,]+)\]", plans["applied"]["physical"])
    assert set(kinds) == {"I"}


def test_no_delete_reaches_a_writing_function(plans: dict[str, dict[str, str]]) -> None:
    """A writing function can't tell a deletion from an insertion, so only inserts and new values may come."""
    text = plans["profiles"]["physical"] + plans["statistics"]["physical"]
    calls = re.findall(r"(write_\w+)\(.*changelogMode=\[([A-Z,]+)\]", text)
    assert dict(calls) == {
        "write_profiles": "I,UA",
        "write_recent_events": "I",
        "write_statistics": "I,UA",
        "write_totals": "I,UA",
    }
    assert len(calls) == 4


def test_records_are_parsed_once(plans: dict[str, dict[str, str]]) -> None:
    """Dead letters, totals and events share one parser."""
    assert sum(plan["execution"].count("parse_record(") for plan in plans.values()) == 1


def test_counts_are_gathered_before_they_are_shuffled(plans: dict[str, dict[str, str]]) -> None:
    """Each count has a local phase, and none retracts."""
    text = plans["profiles"]["execution"] + plans["statistics"]["execution"]
    assert text.count("GlobalGroupAggregate(") == text.count("LocalGroupAggregate(") == 3
    assert "COUNT_RETRACT" not in text


def test_users_are_written_beside_the_counting(tasks: list[str]) -> None:
    """Counting by user, and numbering, have threads of their own, so they go on while writers wait for Redis."""
    chains = [re.sub(r"\[\d+\]", "", task) for task in tasks]
    assert chains.count("GlobalGroupAggregate") == 1, chains
    assert chains.count("PythonCalc -> written: Writer") == 2, chains
    assert len(chains) == 9, chains


def test_numbers_are_given_before_anything_is_spread(plans: dict[str, dict[str, str]], tasks: list[str]) -> None:
    """What counts by user and tag is fed by the one place that numbers the user's events, in its order."""
    assert re.search(r"OverAggregate\(partitionBy=\[user_id\], orderBy=\[\S+ ASC\]", plans["numbered"]["execution"])
    (numbering,) = (task for task in tasks if "OverAggregate" in task)
    assert "LocalGroupAggregate" in numbering


SHAPES = {6: "e8bbb83f97bbd13f"}
"""By the version of the state, a digest of the plan and the tasks that its shape follows from."""


def test_a_plan_of_another_shape_has_another_version(plans: dict[str, dict[str, str]], tasks: list[str]) -> None:
    """A job can't go on from the state of another plan, so a stack that is updated counts anew from the topics.

    Whoever changes the plan raises ``STATE_VERSION`` and adds to ``SHAPES``.
    """
    text = "".join(plans[name]["execution"] for name in sorted(plans)) + "".join(sorted(tasks))
    without_settings = re.sub(r"\d+ ?ms|\[\d+ms\]", "", text)
    digest = hashlib.sha256(without_settings.encode()).hexdigest()[:16]
    assert SHAPES.get(STATE_VERSION) == digest, without_settings
