"""The accepted documents of one kind: which, when, and by whom."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from zkconfig.coordination import Coordination, Node
from zkconfig.documents import D, Kind


@dataclass(frozen=True, slots=True)
class Change:
    """One accepted document.

    ``document`` is None, and ``made_ms`` (epoch ms, by ZooKeeper's clock) 0, for a version of which the history only
    tells that it was in force: another client has set it, or it is the default. ``by`` is "" where nobody is named.
    """

    version: int
    made_ms: int
    by: str
    document: dict[str, Any] | None


def read_history(coordination: Coordination, kind: Kind[D], newest: int) -> list[Change]:
    """Give the newest changes, the newest first. Raises ``ConfigUnavailable``."""
    # One more: what it says of the version before it would otherwise look like a change by somebody else.
    names = coordination.children(kind.history_path)[-newest - 1 :]
    nodes = coordination.read_many([f"{kind.history_path}/{name}" for name in names])
    found: dict[int, Change] = {}
    before: set[int] = set()
    for node in nodes:
        if node is not None and (entry := _entry(node)) is not None:
            found[node.created] = entry[0]
            before.add(entry[1])
    untold = {version: Change(version, 0, "", None) for version in before if version > 0}
    return [change for _, change in sorted({**untold, **found}.items(), reverse=True)][:newest]


def _entry(node: Node) -> tuple[Change, int] | None:
    try:
        value = json.loads(node.data)
        change = Change(node.created, node.created_ms, str(value.get("by", "")), dict(value["document"]))
        return change, int(value["before"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return None  # anybody who may write there may write anything
