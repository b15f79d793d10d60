"""What a user takes in Redis, and what each part of the stack takes in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bench import shop, stored_users
from bench.report import Cell, Report
from bench.stream import resident_of
from bench.workbench import Workbench

PARTS = ("redis",)
USERS, USERS_QUICK = 100_000, 10_000
TAGS, ALL_TAGS = 20, 2_000
HISTORY, PRODUCTS = 30, 100_000
FEW, MOST = 60, 200  # the second is the job's cap on a user's recent events
_MIB = 1024 * 1024

_PARTS_OF_A_USER: dict[str, Callable[[Any, Sequence[int]], None]] = {
    "public hash, tag → score": partial(stored_users.write_profiles, tags=TAGS, all_tags=ALL_TAGS),
    "counts by tag": partial(stored_users.write_counts, tags=TAGS, all_tags=ALL_TAGS),
    f"counts by product, and {shop.BOUGHT} bought": partial(shop.write_histories, products=PRODUCTS, history=HISTORY),
    f"{FEW} recent events": partial(stored_users.write_recent, events=range(FEW), products=PRODUCTS),
    f"{MOST - FEW} more": partial(stored_users.write_recent, events=range(FEW, MOST), products=PRODUCTS),
}
"""What is written of a user, one after the other, and by what."""


def measure(bench: Workbench, stream_file: Path | None = None) -> Report:
    """Write users, and look at what Redis uses before, between and after.

    Args:
        bench: Where Redis runs.
        stream_file: What the stream benchmark has written, for the memory of the processes after it.
    """
    users = bench.size("users", USERS, USERS_QUICK)
    bench.empty_redis()
    numbers = range(users)
    with bench.redis() as client:
        server = _server(client.info("server"))
        empty = _used(client)
        bench.tell(f"writing {users:,} users")
        parts = {name: _grown(client, write, numbers) / users for name, write in _PARTS_OF_A_USER.items()}
        resident = int(client.info("memory")["used_memory_rss"])
        bench.empty_redis()
    rows: list[tuple[Cell, ...]] = [
        *((f"{name}: bytes a user", round(size)) for name, size in parts.items()),
        ("all of it: bytes a user", round(sum(parts.values()))),
        (f"Redis with all of them: resident MiB (empty: {empty / _MIB:.1f} used)", round(resident / _MIB, 1)),
    ]
    processes = resident_of(json.loads(stream_file.read_text())) if stream_file and stream_file.exists() else {}
    rows += [(f"after the stream run: {part}, resident MiB", round(size / _MIB)) for part, size in processes.items()]
    if processes:
        rows.append(("after the stream run: everything, resident MiB", round(sum(processes.values()) / _MIB)))
    notes = (
        f"{server}; used memory without the buffers of the append-only file; ids of about ten characters",
        "processes: from the last stream run, with the job at rest after its last record"
        if processes
        else "processes: not known, run the benchmark `stream` first",
    )
    return Report(
        title=f"memory: {users:,} users of {TAGS} tags and {HISTORY} products",
        columns=("", "value"),
        rows=tuple(rows),
        notes=notes,
        data={
            "bytes_a_user": parts,
            "redis_resident_bytes": resident,
            "resident_bytes_after_stream": processes,
        },
    )


def _grown(client: Any, write: Callable[[Any, Sequence[int]], None], numbers: Sequence[int]) -> int:
    before = _used(client)
    write(client, numbers)
    return _used(client) - before


def _server(found: dict[str, Any]) -> str:
    """Name the server: Valkey says which Redis it is compatible with, and its own version besides."""
    own = found.get("valkey_version")
    return f"Valkey {own}" if own else f"Redis {found['redis_version']}"


def _used(client: Any) -> int:
    found = client.info("memory")
    return int(found["used_memory"]) - int(found.get("mem_aof_buffer", 0)) - int(found.get("mem_clients_normal", 0))
