"""Keeps the statistics in memory up to date: loaded whole at the start and now and then, followed in between.

The change feed is read from the last entry *before* the load, so that nothing falls between the two; rows are absolute,
so reading some of them twice is harmless.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from typing import Any

import redis

from reccore import layout
from recsvc.statistics import Collected, Snapshot
from redisaccess.clients import client_of

log = logging.getLogger(__name__)

RELOAD_SECONDS = 60.0
PUBLISH_SECONDS = 0.2
_BLOCK_MS = 500
_REST_AFTER_LOAD = 5.0
"""Times as long as reading everything took: so a catalogue that changes all the time takes a sixth of a thread."""
_AT_ONCE = 1_000
_NONE = "0-0"


class StatisticsFeed:
    """A thread that reads statistics and catalogue from Redis and publishes snapshots, at most five a second."""

    def __init__(self, url: str, *, width: int, reload_seconds: float = RELOAD_SECONDS) -> None:
        # Blocking reads and a load of everything take longer than a request may, so this client is its own.
        self._redis: Any = client_of(
            url, socket_timeout=5.0, socket_connect_timeout=1.0, decode_responses=True, max_connections=2
        )
        self._reload_seconds = reload_seconds
        self._collected = Collected(width)
        self._snapshot = self._collected.snapshot()
        self._loaded = False
        self._last_id, self._catalog_version = _NONE, ""
        self._load_again_at = 0.0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def snapshot(self) -> Snapshot:
        """The statistics as they are known now."""
        return self._snapshot

    @property
    def loaded(self) -> bool:
        """Whether everything was read at least once."""
        return self._loaded

    def start(self) -> None:
        """Start the thread, after any fork."""
        self._thread = threading.Thread(target=self._run, name="statistics", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(10)
        self._redis.close()

    def _run(self) -> None:
        pause = 0.1
        while not self._stopping.is_set():
            try:
                self.load()
                pause = 0.1
                self._follow_until(time.monotonic() + self._reload_seconds)
            except redis.RedisError as exc:
                log.info("statistics can't be read now: %s", exc)
                self._stopping.wait(pause)
                pause = min(2.0, pause * 2)
            except Exception:
                log.exception("statistics could not be read")
                self._stopping.wait(2.0)

    def load(self) -> None:
        """Read everything. Raises ``redis.RedisError``."""
        began = time.monotonic()
        newest = self._redis.xrevrange(layout.CHANGES, count=1)
        last_id = newest[0][0] if newest else _NONE
        version = self._redis.get(layout.CATALOG_VERSION) or ""
        catalog, removed = self._rows(layout.CATALOG), self._rows(layout.CATALOG_REMOVED)
        products, tags = self._rows(layout.PRODUCT_STATISTICS), self._rows(layout.TAG_STATISTICS)
        self._collected.clear_statistics()
        self._collected.put_catalog({key: json.loads(row) for key, row in catalog.items()}, removed)
        for product_id, row in products.items():
            self._collected.put_product(product_id, json.loads(row))
        for tag, row in tags.items():
            self._collected.put_tag(tag, json.loads(row))
        self._snapshot, self._last_id, self._catalog_version = self._collected.snapshot(), last_id, version
        self._loaded, ended = True, time.monotonic()
        self._load_again_at = ended + _REST_AFTER_LOAD * (ended - began)

    def _rows(self, key: str) -> dict[str, str]:
        return dict(self._redis.hscan_iter(key, count=_AT_ONCE))

    def _follow_until(self, deadline: float) -> None:
        while not self._stopping.is_set() and time.monotonic() < deadline:
            began, read_before = time.monotonic(), self._last_id
            changed = self._read_changes()
            if changed and self._misses_changes(read_before):
                log.warning("changes of statistics were trimmed before they were read; everything is read again")
                return
            if time.monotonic() >= self._load_again_at and self._catalogue_has_changed():
                return  # load again: the catalogue says which tags products have
            if changed:
                self._snapshot = self._collected.snapshot()
                self._stopping.wait(max(0.0, PUBLISH_SECONDS - (time.monotonic() - began)))

    def _catalogue_has_changed(self) -> bool:
        return (self._redis.get(layout.CATALOG_VERSION) or "") != self._catalog_version

    def _read_changes(self) -> bool:
        answer = self._redis.xread({layout.CHANGES: self._last_id}, count=_AT_ONCE, block=_BLOCK_MS)
        for _, entries in answer or []:
            for entry_id, fields in entries:
                self._apply(fields)
                self._last_id = entry_id
        return bool(answer)

    def _misses_changes(self, read_before: str) -> bool:
        """Whether entries after ``read_before`` may have gone unread; asked after reading, so none goes unnoticed.

        While that entry, or an older one, is still there, nothing after it was trimmed.
        """
        if read_before == _NONE:  # the stream was empty then: what was trimmed is what is not there any more
            stream = self._redis.xinfo_stream(layout.CHANGES)
            return bool(stream["entries-added"] > stream["length"])
        return not self._redis.xrange(layout.CHANGES, max=read_before, count=1)

    def _apply(self, fields: dict[str, str]) -> None:
        put = {layout.PRODUCTS_CHANGED: self._collected.put_product, layout.TAGS_CHANGED: self._collected.put_tag}
        take = put.get(fields.get("kind", ""))
        if take is not None:
            for name, row in json.loads(fields["rows"]).items():
                take(name, row)
