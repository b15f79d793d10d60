"""What the job asks of Flink."""

from __future__ import annotations

from flink_jobs.settings import JobSettings


def flink_options(settings: JobSettings) -> dict[str, str]:
    """Give Flink's own settings for the profile job."""
    own_folder = {"execution.checkpointing.dir": settings.checkpoint_dir} if settings.checkpoint_dir else {}
    return {
        **own_folder,
        "pipeline.name": settings.job_name,
        # Operators of one task hand rows on as they are; those that keep one copy it themselves.
        "pipeline.object-reuse": "true",
        "parallelism.default": str(settings.parallelism),
        "execution.checkpointing.interval": f"{settings.checkpoint_interval_ms} ms",
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.tolerable-failed-checkpoints": "1000000",
        "execution.buffer-timeout.interval": f"{settings.buffer_timeout_ms} ms",
        "state.backend.type": "rocksdb",
        "state.backend.incremental": "true",
        # Nearly every look-up of an event id is for one that was never seen, which a filter answers from memory.
        "state.backend.rocksdb.use-bloom-filter": "true",
        # Every checkpoint leaves a file. Merging them uncompressed, and several at once, takes a third of the time.
        "state.backend.rocksdb.compression.per.level": "NO_COMPRESSION",
        "state.backend.rocksdb.compaction.style": "UNIVERSAL",
        "python.fn-execution.bundle.time": str(settings.bundle_ms),
        "python.fn-execution.bundle.size": str(settings.bundle_rows),
        "python.fn-execution.arrow.batch.size": str(settings.bundle_rows),
        "table.local-time-zone": "UTC",
        "table.exec.state.ttl": f"{settings.deduplication_window_seconds} s",
    }
