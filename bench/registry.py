"""All benchmarks by name, in the order in which they run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench import (
    archive,
    bounds,
    ingest,
    latency,
    lists,
    memory,
    proof,
    recent,
    recommend,
    stream,
    textbook,
    train,
    weights,
)
from bench.report import Report
from bench.workbench import Workbench


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark: what it shows, the parts of the stack that it needs, and how it is run."""

    name: str
    shows: str
    parts: tuple[str, ...]
    measure: Callable[[Workbench], Report]


def benchmarks(output: Path) -> dict[str, Benchmark]:
    """Give all benchmarks; ``output`` is the folder of the results, where one finds what another has measured."""
    memory_after_stream = partial(memory.measure, stream_file=output / "stream.json")
    every = (
        Benchmark("stream", "events/s of the profile job beside a plain loop", stream.PARTS, stream.measure),
        Benchmark("recent", "the profile job with recent events and without", recent.PARTS, recent.measure),
        Benchmark("textbook", "the same beside the textbook job", textbook.PARTS, textbook.measure),
        Benchmark("latency", "event sent → score in Redis → recommendation", latency.PARTS, latency.measure),
        Benchmark("weights", "PUT weights → every worker, and the stored scores", weights.PARTS, weights.measure),
        Benchmark("recommend", "GET /recommend beside a bare HGETALL", recommend.PARTS, recommend.measure),
        Benchmark("ingest", "events over HTTP into Kafka", ingest.PARTS, ingest.measure),
        Benchmark("proof", "the log counted anew: verify and replay", proof.PARTS, proof.measure),
        Benchmark("archive", "events into Parquet beside Flink's file sink", archive.PARTS, archive.measure),
        Benchmark("train", "time and memory of training, and of one answer by the model", train.PARTS, train.measure),
        Benchmark("lists", "users a second whose lists are published, and kept", lists.PARTS, lists.measure),
        Benchmark("bounds", "memory and state under what might let them grow", bounds.PARTS, bounds.measure),
        Benchmark("memory", "bytes a user, memory of each process", memory.PARTS, memory_after_stream),
    )
    return {each.name: each for each in every}
