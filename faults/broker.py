"""K1 to K6: the broker away, and whatever may come out of it."""

from __future__ import annotations

import os
import signal
import time
from typing import cast

import redis
from confluent_kafka.admin import AdminClient, NewPartitions  # type: ignore[attr-defined]

from deploy.local.processes import resident_bytes
from faults.jobs import last_restart_ms
from faults.ledger import TOPICS
from faults.letters import compare_letters
from faults.patience import wait_until
from faults.poison import IMPOSSIBLE_TIMES, LARGE_POISON
from faults.posting import posting
from faults.run import Run, demand
from faults.traffic import Event
from reccore import layout
from reccore.encoding import compared_part

REFUSAL_SECONDS = 2.0
INGEST_SECONDS = 30.0
MOST_GROWTH_BYTES = 200 * 1024 * 1024
_DAY_MS = 86_400_000


def killed_broker(run: Run) -> str:
    """K1: SIGTERM and SIGKILL to the broker in turns, while events come from a producer and over HTTP."""
    times = run.choose(10, 2)
    with posting(run.stack.env["API_URL"], run.traffic) as posted, run.traffic.flowing():
        for turn in range(times):
            run.progress()
            run.waits(0, 2)
            began = time.monotonic()
            gone = run.stack.kill("kafka", signal.SIGTERM if turn % 2 == 0 else signal.SIGKILL)
            run.another("kafka", gone)
            run.recovered("a killed broker", began)
        back = time.monotonic()
    taken = time.monotonic() - back
    run.note("every event sent over HTTP acknowledged after the last return after s", taken)
    run.in_time("acknowledgement of what was sent over HTTP", taken, INGEST_SECONDS)
    _note(run, posted.statuses.total(), posted.statuses[202], posted.statuses[0])
    return f"SIGTERM and SIGKILL of the broker in turns, {times} times"


def _note(run: Run, requests: int, accepted: int, unanswered: int) -> None:
    run.note("events over HTTP: requests", requests)
    run.note("events over HTTP: acknowledged", accepted)
    run.must(f"{unanswered} requests got no answer", unanswered == 0)


def paused_broker(run: Run) -> str:
    """K2: SIGSTOP to the broker; ingest refuses in time, keeps nothing without a bound, and takes events again."""
    lengths = (5,) if run.quick else (5, 30, 90)
    api = run.stack.pid("api")
    before = resident_bytes(api)
    refused = 0
    for seconds in lengths:
        with posting(run.stack.env["API_URL"], run.traffic) as posted:
            run.waits(1, 2)
            stopped = run.stack.kill("kafka", signal.SIGSTOP)
            try:
                time.sleep(seconds)
            finally:
                os.kill(stopped, signal.SIGCONT)
            began, accepted = time.monotonic(), posted.statuses[202]
            taken = wait_until("an event taken again", lambda now=posted, then=accepted: now.statuses[202] > then)  # type: ignore[misc]
            run.note(f"after {seconds} s: first event taken again after s", taken)
            run.recovered(f"{seconds} s of a paused broker", began)
        refused += posted.statuses[503]
        slowest = posted.longest_refusal_seconds
        run.note(f"{seconds} s: slowest refusal s", slowest)
        run.in_time("a refusal", slowest, REFUSAL_SECONDS)
        other = posted.statuses.keys() - {202, 503}
        run.must(f"answers other than 202 and 503: {sorted(other)}", not other)
    run.must("nothing was refused while the broker stood still", refused > 0)
    growth = resident_bytes(api) - before
    run.note("refused with 503", refused)
    run.note("memory of the service grew by MiB", growth / 1024**2)
    run.must(f"the service grew by {growth:,} bytes", growth <= MOST_GROWTH_BYTES)
    return f"SIGSTOP of the broker for {', '.join(map(str, lengths))} s"


def repeated(run: Run) -> str:
    """K3: every event one to five times, before and after restarts of the job."""
    events = [run.traffic.event(users=100) for _ in range(run.choose(3_000, 400))]
    for number, (event, _) in enumerate(events):
        event.setdefault("event_id", f"{run.row}-{run.seed}-{number}")  # without one each sending is another event
    copies = [each for each in events for _ in range(run.random.randint(1, 5))]
    run.random.shuffle(copies)
    thirds = [copies[start::3] for start in range(3)]
    before = run.traffic.ledger.duplicates
    for turn, part in enumerate(thirds):
        run.traffic.send_these(part)
        if turn < 2:
            run.waits(0, 2)
            began = time.monotonic()
            run.stack.kill("taskmanager")
            run.recovered("SIGKILL of the TaskManager", began)
    run.note("records", len(copies))
    run.note("duplicates", run.traffic.ledger.duplicates - before)
    return f"{len(events)} events one to five times each, with two restarts of the job in between"


def disordered(run: Run) -> str:
    """K4: the same events in many orders, early and late ones, with the first and last times there are."""
    times = [0, 100_000_000_000, 253_402_300_799_999, *(1_700_000_000_000 - day * _DAY_MS for day in range(12))]
    kinds = list(TOPICS)
    orders = run.choose(24, 6)
    for order in range(orders):
        user = f"order-{run.seed}-{order}"
        events: list[tuple[Event, str]] = [
            (
                {
                    "event_id": f"{user}-{number}",
                    "user_id": user,
                    "product_id": f"product-{number % 7}",
                    "timestamp": time_ms,
                    "tags": [f"tag-{number % 5}", "any"],
                },
                kinds[number % len(kinds)],
            )
            for number, time_ms in enumerate(times * 3)
        ]
        run.random.shuffle(events)
        run.traffic.send_these(events)
    run.traffic.poison(IMPOSSIBLE_TIMES)
    run.compare()
    users = [f"order-{run.seed}-{order}" for order in range(orders)]
    results = {str(_kept(run.redis, user)) for user in users}
    run.must(f"{len(results)} different results", len(results) == 1)
    compare_letters(run.stack, run.traffic.ledger)
    return f"{len(times) * 3} events in {orders} orders, from 1970 to 9999; impossible times became dead letters"


def _kept(client: redis.Redis, user: str) -> list[tuple[str, str]]:
    """Give all that is kept of a user but for the numbers of events, which are those of the order they came in."""
    keys = (layout.counts_key(user), layout.items_key(user), layout.profile_key(user))
    counts, items, scores = (cast("dict[str, str]", client.hgetall(key)) for key in keys)
    rows = [(name, compared_part(row)) for each in (counts, items) for name, row in each.items()]
    return sorted([*rows, *scores.items()])


def poisoned(run: Run) -> str:
    """K5: records that no parser should take, between good ones; the job does not restart."""
    rest = run.stack.env["FLINK_REST"]
    before, job = last_restart_ms(rest), run.stack.pid("taskmanager")
    demand("the job does not tell whether it restarted", before >= 0)
    letters = run.traffic.ledger.dead.total()
    for _ in range(run.choose(20, 3)):
        run.traffic.send(50)
        run.traffic.poison()
        run.traffic.send(50)
    run.traffic.poison(LARGE_POISON)
    run.traffic.send(50)
    run.compare()
    compare_letters(run.stack, run.traffic.ledger)
    run.note("dead letters", run.traffic.ledger.dead.total() - letters)
    run.must("the job was restarted", last_restart_ms(rest) == before)
    run.must("the TaskManager was restarted", run.stack.pid("taskmanager") == job)
    return "records that are no events between good ones, each with its dead letter; no restart"


def new_partitions(run: Run) -> str:
    """K6: each topic gets three partitions more while the job runs."""
    with run.traffic.flowing():
        run.progress()
        admin = AdminClient({"bootstrap.servers": run.stack.env["KAFKA_BOOTSTRAP"]})
        known = admin.list_topics(timeout=30).topics
        before = {topic: len(known[topic].partitions) for topic in TOPICS.values()}
        more = [NewPartitions(topic, count + 3) for topic, count in before.items()]
        for future in admin.create_partitions(more).values():
            future.result()
        run.progress()
    began = time.monotonic()
    for kind, topic in TOPICS.items():
        run.traffic.send_to_partitions(kind, range(before[topic], before[topic] + 3), run.choose(600, 150))
    run.compare()
    run.note("new partitions counted after s", time.monotonic() - began)
    return f"partitions of each topic {min(before.values())} → {min(before.values()) + 3} while events flow"
