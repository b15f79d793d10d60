"""How far a file has been loaded, kept beside it until it is done, so that an interrupted load goes on from there."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class Loaded:
    """The rows that are done with: sent and acknowledged, by event type, or rejected, by reason."""

    rows: int = 0
    sent: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    rejected_bytes: int = 0
    """Of the file that the rejected lines are written to."""


class LoadState:
    """The state of one file under one set of options; of a file that has changed since, it knows nothing.

    Args:
        file: What is loaded. The state is ``.NAME.loading`` in the same folder; where that can't be written, an
            interrupted load begins anew, which changes nothing but the time that it takes: ids are the same.
        options: What else makes it the same load.
    """

    def __init__(self, file: Path, options: Mapping[str, str]) -> None:
        self._kept = file.with_name(f".{file.name}.loading")
        found = file.stat()
        self._same: dict[str, Any] = {"size": found.st_size, "modified_ns": found.st_mtime_ns, **options}

    def read(self) -> Loaded:
        """Give what an interrupted load of the same file has done, nothing if there was none."""
        try:
            kept = json.loads(self._kept.read_text(encoding="utf-8"))
            if kept["of"] != self._same:
                return Loaded()
            return Loaded(kept["rows"], Counter(kept["sent"]), Counter(kept["rejected"]), kept["rejected_bytes"])
        except (OSError, ValueError, KeyError, TypeError):
            return Loaded()

    def write(self, loaded: Loaded) -> bool:
        """Keep how far it is; gives whether that worked."""
        document = {
            "of": self._same,
            "rows": loaded.rows,
            "sent": loaded.sent,
            "rejected": loaded.rejected,
            "rejected_bytes": loaded.rejected_bytes,
        }
        beside = self._kept.with_name(f"{self._kept.name}-new")
        try:
            beside.write_text(json.dumps(document), encoding="utf-8")
            beside.replace(self._kept)
        except OSError:
            return False
        return True

    def forget(self) -> None:
        """Remove it: all is loaded."""
        with suppress(OSError):
            self._kept.unlink()
