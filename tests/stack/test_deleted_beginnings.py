"""A job without state where Kafka has deleted first records: full counts are not replaced by partial ones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import confluent_kafka as kafka
import pytest

from deploy.local import flink, job, job_keeper
from deploy.local.cluster_jobs import JobState
from deploy.local.errors import StackError
from deploy.local.home import Home
from deploy.local.settings import read_settings, remember_settings
from deploy.local.submission import read_submission
from deploy.local.topics import deleted_beginnings

STACK_ENV = {
    "KAFKA_BOOTSTRAP": "127.0.0.1:1",
    "ZOOKEEPER_HOSTS": "127.0.0.1:2",
    "REDIS_URL": "redis://127.0.0.1:3/0",
    "FLINK_REST": "http://127.0.0.1:4",
}
GONE = "view-events:1 (first offset 2,001)"
RECORD = b"x" * 50_000
MOST_BYTES = 5 * 1024 * 1024
"""Of a partition of librdkafka's own broker; then it deletes its first records."""


@pytest.fixture(scope="module")
def producer() -> Iterator[kafka.Producer]:
    """A producer with a broker in its own process."""
    made = kafka.Producer({"bootstrap.servers": "unused:1", "test.mock.num.brokers": 1, "log_level": 0})
    yield made
    made.flush(10)


def test_partitions_without_their_first_records_are_named(producer: kafka.Producer) -> None:
    """A topic that does not exist yet lacks none, and of a broker that does not answer nobody knows."""
    (broker,) = producer.list_topics(timeout=30).brokers.values()
    bootstrap, topics = f"{broker.host}:{broker.port}", ("view-events", "purchase-events")
    producer.produce("view-events", RECORD, partition=0)
    producer.flush(30)
    assert deleted_beginnings(bootstrap, topics) == ""
    for _ in range(MOST_BYTES // len(RECORD) + 20):
        producer.produce("view-events", RECORD, partition=1)
        producer.flush(30)
    assert deleted_beginnings(bootstrap, topics).startswith("view-events:1 (first offset ")
    assert deleted_beginnings(bootstrap, ("purchase-events",)) == ""
    assert deleted_beginnings(STACK_ENV["KAFKA_BOOTSTRAP"], topics) == ""


@dataclass
class Cluster:
    """What was done to a cluster without a job, and what Kafka is said to lack."""

    home: Home
    gone: str = ""
    commands: list[tuple[str, ...]] = field(default_factory=list)
    cancelled: int = 0

    def submit(self, *, anew: bool = False) -> str:
        """As the keeper does it."""
        settings = read_settings(self.home, {})
        return job.submit(self.home, STACK_ENV, settings, self.home.log / "job-submit.log", anew=anew)

    def cancel(self, _rest: str) -> None:
        """Count it."""
        self.cancelled += 1


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """A fresh one."""
    made = Cluster(Home.at(tmp_path))
    made.home.create()
    flink.client_folder(made.home).mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(job, "list_jobs", lambda _rest: [])
    monkeypatch.setattr(job, "run_client", lambda _home, command, _log: made.commands.append(command))
    monkeypatch.setattr(job, "deleted_beginnings", lambda *_: made.gone)
    monkeypatch.setattr(job, "cancel", made.cancel)
    monkeypatch.setattr(job, "job_command", lambda *given: ("flink", str(given[-1] and given[-1].path.name)))
    return made


def _checkpoint(home: Home) -> None:
    folder = flink.checkpoints_folder(home) / "job" / "chk-1"
    folder.mkdir(parents=True)
    (folder / "_metadata").write_text("x")


def test_a_job_without_state_counts_a_whole_log(cluster: Cluster) -> None:
    """A fresh stack has one, and so it is taken where Kafka does not answer."""
    assert "from the beginning" in cluster.submit()
    assert cluster.commands == [("flink", "None")]


def test_what_is_left_of_a_log_is_counted_only_anew(cluster: Cluster) -> None:
    """The refusal names both ways, and leaves no trace by which state would be passed over later."""
    cluster.gone = GONE
    with pytest.raises(StackError, match=r"view-events:1.*reweigh replay --from archive.*reweigh job submit --anew"):
        cluster.submit()
    assert cluster.commands == []
    assert read_submission(cluster.home) is None
    assert "from the beginning" in cluster.submit(anew=True)


def test_a_job_with_state_needs_no_first_records(cluster: Cluster) -> None:
    """It has counted them."""
    cluster.gone = GONE
    _checkpoint(cluster.home)
    assert "chk-1" in cluster.submit()
    assert cluster.commands == [("flink", "chk-1")]


def test_a_job_is_not_ended_for_one_that_could_not_count_everything(cluster: Cluster) -> None:
    """With settings of another shape the old one goes on, until a replay has counted for the new one."""
    cluster.submit()
    cluster.gone = GONE
    other = read_settings(cluster.home, {"EXTRA_EVENT_TYPES": "wishlist:wishlist-events"})
    with pytest.raises(StackError, match="reweigh replay --from archive"):
        job.retire(cluster.home, STACK_ENV, other)
    assert cluster.cancelled == 0
    cluster.gone = ""
    assert "another shape" in job.retire(cluster.home, STACK_ENV, other)
    assert cluster.cancelled == 1


@pytest.mark.parametrize("exists", [False, True])
def test_the_keeper_says_so_and_tries_again_ever_later(
    cluster: Cluster, exists: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether there is no job, or one of another shape."""
    _checkpoint(cluster.home)
    cluster.submit()
    cluster.gone = GONE
    remember_settings(cluster.home, {"EXTRA_EVENT_TYPES": "wishlist:wishlist-events"})
    cluster.home.stack_env.write_text("".join(f"{key}={value}\n" for key, value in STACK_ENV.items()))
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 7:
            raise EndedError

    running = JobState("id", "RUNNING", 0, vertices=1, running=1)
    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(job_keeper, "list_jobs", lambda _rest: [running] if exists else [])
    monkeypatch.setattr(job_keeper, "free_slots", lambda _rest: 2)
    with pytest.raises(EndedError):
        job_keeper.keep(cluster.home)
    poll = job_keeper.POLL_SECONDS
    assert slept == [poll, 1, poll, 2, poll, 4, poll]
    assert caplog.text.count("reweigh replay --from archive") == 3
    assert (len(cluster.commands), cluster.cancelled) == (1, 0)


class EndedError(Exception):
    """Ends what never returns."""
