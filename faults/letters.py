"""The dead letters there are, compared with the bad records that were sent."""

from __future__ import annotations

import base64
import json
import time
from collections import Counter
from typing import Any

from confluent_kafka import Consumer

from deploy.local import Stack
from faults.ledger import Ledger
from faults.patience import PATIENCE_SECONDS


def compare_letters(whole: Stack, ledger: Ledger) -> None:
    """Each bad record has one letter, under the key of its place, with its reason and exact bytes."""
    letters = _read(whole.env["KAFKA_BOOTSTRAP"], len(ledger.poison))
    for key, letter in letters.items():
        assert key.decode() == f"{letter['topic']}:{letter['partition']}:{letter['offset']}"
        assert letter["detail"]
        assert letter["timestamp"] > 1_700_000_000_000
    assert Counter(letter["reason"] for letter in letters.values()) == ledger.dead
    found = sorted("" if letter["raw"] is None else letter["raw"] for letter in letters.values())
    assert found == sorted("" if raw is None else base64.b64encode(raw).decode() for raw in ledger.poison)


def _read(bootstrap: str, wanted: int) -> dict[bytes, dict[str, Any]]:
    """Read the topic from its beginning to its end, and on until there are as many letters as are wanted.

    A letter that a recovery has sent twice has the same key twice.
    """
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "test",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe(["dead-letter-events"])
    letters: dict[bytes, dict[str, Any]] = {}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        messages = consumer.consume(500, timeout=1)
        letters.update({message.key() or b"": json.loads(message.value() or b"") for message in messages})
        if not messages and len(letters) >= wanted:
            break
    consumer.close()
    return letters
