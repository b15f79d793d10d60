"""The sweeper process: ``python -m recsvc.sweeper``.

Follows the weights like every other process, and after each change brings all stored scores in line. Several may run:
the one that registered first works, the others stand by; without ZooKeeper each works, which costs time and nothing
else, because every step is atomic and tied to its version.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from reccore.errors import SettingError
from recsvc.errors import StoreUnavailable
from recsvc.log_lines import begin_log
from recsvc.settings import Settings, settings_from
from recsvc.sweep import ScoreSweep
from redisaccess.clients import client_of
from zkconfig.errors import ConfigUnavailable
from zkconfig.kazoo_client import KazooCoordination
from zkconfig.presence import read_members
from zkconfig.watcher import WeightsInForce, WeightsWatcher, seed_from_fields

log = logging.getLogger("recsvc.sweeper")

ROLE = "sweeper"
LOOK_SECONDS = 1.0


class Heartbeat:
    """A file that is touched about once a second while the work goes on, for who restarts a process that hangs."""

    def __init__(self, file: str) -> None:
        self._file = Path(file) if file else None
        self._next = 0.0

    def beat(self) -> None:
        """Touch the file, unless that was done within the last second, or none is wanted."""
        now = time.monotonic()
        if self._file is not None and now >= self._next:
            self._file.touch()
            self._next = now + LOOK_SECONDS


class Sweeper:
    """Decides when a pass is due."""

    def __init__(
        self, sweep: ScoreSweep, watcher: WeightsWatcher, settings: Settings, heartbeat: Heartbeat | None = None
    ) -> None:
        self._sweep, self._watcher, self._settings = sweep, watcher, settings
        self._heartbeat = heartbeat or Heartbeat("")
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._next_expiry = time.monotonic()
        self._warned_of = -1
        watcher.on_change.append(lambda _: self._wake.set())

    def run(self) -> None:
        """Work until ``stop``."""
        while not self._ends():
            try:
                self.step()
            except StoreUnavailable as exc:
                log.warning("%s; trying again", exc)
            self._wake.wait(LOOK_SECONDS)
            self._wake.clear()

    def stop(self) -> None:
        """End after the chunk at work."""
        self._stopping.set()
        self._wake.set()

    def step(self) -> None:
        """Make the pass that is due, if any. Raises ``StoreUnavailable``."""
        if not self._is_first():
            return
        record = self._sweep.record()
        target = self._newest(record.fields)
        if record.version > target.version:
            # Redis refuses whatever is computed with older weights, so a pass would only be given up, again and again.
            self._warn_once(
                record.version, "what Redis holds of it can't be read; scores stay until newer weights come"
            )
            return
        if not target.known:
            return
        if record.version < target.version:
            self._sweep.raise_version(target.version, target.weights)
        if record.swept < target.version:
            self._bring_in_line(target)
        elif self._settings.tag_expiry_seconds and time.monotonic() >= self._next_expiry:
            self._expire(target)

    def _ends(self) -> bool:
        """Asked in every round and between the chunks of a pass, which may take minutes."""
        self._heartbeat.beat()
        return self._stopping.is_set()

    def _bring_in_line(self, target: WeightsInForce) -> None:
        done = self._sweep.run(
            target.version,
            target.weights,
            tag_expiry_seconds=self._settings.tag_expiry_seconds,
            stopping=self._ends,
        )
        if done.complete:
            self._sweep.mark_swept(target.version)
            log.info("version %d: %d users in %.1f s", target.version, done.users, done.seconds)
        else:
            log.info("version %d: given up after %d users", target.version, done.users)
            self._wake.set()

    def _expire(self, target: WeightsInForce) -> None:
        expiry = self._settings.tag_expiry_seconds
        done = self._sweep.run(
            target.version,
            target.weights,
            tag_expiry_seconds=expiry,
            write_scores=False,
            stopping=self._ends,
        )
        self._next_expiry = time.monotonic() + max(1.0, expiry / 10)
        if done.changed:
            log.info("expired tags of %d users removed in %.1f s", done.changed, done.seconds)

    def _newest(self, fields: Mapping[str, str]) -> WeightsInForce:
        """Give the newest weights known: a writer may have told Redis of them before ZooKeeper told this process."""
        ours, seed = self._watcher.in_force, seed_from_fields(fields, self._settings.event_types)
        if seed is None or (seed[1] <= ours.version and ours.known):
            return ours
        foreign = sorted(json.loads(fields["document"]).keys() - set(seed[0].names))
        if foreign:
            names = ", ".join(foreign)
            self._warn_once(seed[1], f"{names} unknown here (EXTRA_EVENT_TYPES), so without weight in the scores")
        return WeightsInForce(*seed, known=True)

    def _warn_once(self, version: int, what: str) -> None:
        if version != self._warned_of:
            self._warned_of = version
            log.warning("version %d: %s", version, what)

    def _is_first(self) -> bool:
        name = self._watcher.presence.name if self._watcher.presence else ""
        try:
            sweepers = [each.name for each in read_members(self._watcher.coordination) if each.role == ROLE]
        except ConfigUnavailable:
            return True
        return name not in sweepers or name == min(sweepers, key=lambda each: each[-10:])


def main() -> None:
    """Run until SIGTERM or SIGINT."""
    try:
        begin_log()
        settings = settings_from()
    except SettingError as exc:
        sys.exit(str(exc))
    client = client_of(settings.redis_url, decode_responses=True, socket_timeout=5.0, socket_connect_timeout=1.0)
    coordination = KazooCoordination(settings.zookeeper_hosts, auth=settings.zookeeper_auth)
    watcher = WeightsWatcher(coordination, settings.event_types, role=ROLE)
    sweep = ScoreSweep(client)
    sweeper = Sweeper(sweep, watcher, settings, Heartbeat(settings.sweeper_heartbeat_file))

    def end(_number: int, _frame: FrameType | None) -> None:
        sweeper.stop()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    watcher.start()
    log.info("following the weights of %s", settings.zookeeper_hosts)
    try:
        sweeper.run()
    finally:
        watcher.stop()
        sweep.close()
        client.close()


if __name__ == "__main__":
    main()
