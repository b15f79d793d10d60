"""A steady stream of events in a process of its own: ``python -m bench.background BOOTSTRAP RATE SECONDS SEED``.

It prints one line of JSON at the end: how many records it sent, and how fast. SIGTERM ends it early.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from confluent_kafka import Producer

from bench.synthetic import TOPICS, events
from bench.workbench import Workbench
from deploy.local.home import CHECKOUT, STACK_ID_VARIABLE

_SLICE_SECONDS = 0.02


def main(bootstrap: str, rate: int, seconds: float, seed: int) -> None:
    """Send ``rate`` records a second, a slice every 20 ms."""
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stopping.set())
    print("ready", flush=True)
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 10, "acks": "all"})
    records = events(int(rate * seconds) + rate, seed)
    sent, began = 0, time.perf_counter()
    while not stopping.is_set() and (elapsed := time.perf_counter() - began) < seconds:
        for _ in range(int(elapsed * rate) - sent):
            kind, user_id, value = next(records)
            producer.produce(TOPICS[kind], value, user_id.encode())
            sent += 1
        producer.poll(0)
        stopping.wait(_SLICE_SECONDS)
    elapsed = time.perf_counter() - began
    left = producer.flush(30)
    print(json.dumps({"records": sent - left, "records_a_second": sent / elapsed}))


@contextmanager
def offered(bench: Workbench, rate: int, seed: int, most_seconds: float = 600) -> Iterator[dict[str, Any]]:
    """Offer ``rate`` records a second meanwhile; what came of it is in the dictionary given, after the end."""
    found: dict[str, Any] = {}
    environment = {**os.environ, STACK_ID_VARIABLE: bench.stack.home.stack_id}
    arguments = (bench.kafka, str(rate), str(most_seconds), str(seed))
    with subprocess.Popen(
        (sys.executable, "-m", "bench.background", *arguments), cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()  # from now on it ends in order
            yield found
        finally:
            process.terminate()
            output, _ = process.communicate(timeout=60)
    found.update(json.loads(output))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
