"""`reweigh load` of as many users as a large public data set has: memory does not grow with the file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.reweigh.conftest import CHECKOUT

pytestmark = pytest.mark.timeout(300)

USERS = 371_269
MORE_MIB = 24
"""What the large file may take more than the small one. The ids alone would take that as strings in a set."""

# All of the command is real but Kafka, whose buffer librdkafka bounds. (`ru_maxrss` would not do: a process
# begins with that of the one that started it.)
LOADED = """
import sys
from pathlib import Path
from reccore.event_types import EventTypes
from reweigh import loading

class Nowhere:
    def __init__(self, *_, **__): self.keys = 0
    def send(self, topic, key, value): self.keys += key is not None
    def flush(self): pass
    def close(self): print(self.keys)

loading.EventProducer, loading.check_topics = Nowhere, lambda *_, **__: None
report = loading.load_events(Path(sys.argv[1]), "nowhere:1", EventTypes.from_settings({}))
[most] = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")]
print(report.events, report.rejected.total(), most)
"""


def loaded(file: Path) -> list[int]:
    """Load a file in a process of its own: records with a key, events, rejected lines, and the most memory in KiB."""
    command = [sys.executable, "-c", LOADED, str(file)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True, timeout=240)
    return [int(word) for word in done.stdout.split()]


def views(file: Path, users: int) -> Path:
    """One event of each user, under such ids as Amazon's reviews have."""
    event = '{"user_id":"A%013X","product_id":"B%09d","event_type":"view","timestamp":%d}\n'
    with file.open("w") as out:
        out.writelines(event % (user, user % 50_000, 1_400_000_000 + user) for user in range(users))
    return file


def test_memory_does_not_grow_with_the_users(tmp_path: Path) -> None:
    """Each is sent, keyed, and none remembered."""
    *small, at_first = loaded(views(tmp_path / "small.jsonl", 1_000))
    *large, at_last = loaded(views(tmp_path / "large.jsonl", USERS))
    assert (small, large) == ([1_000, 1_000, 0], [USERS, USERS, 0])
    assert at_last - at_first < MORE_MIB * 1024, (at_first, at_last)
