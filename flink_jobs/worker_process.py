"""What a worker process is spared; each function of the job asks for it when it opens."""

from __future__ import annotations

import gc
import threading
from typing import Any, Final

from apache_beam.runners.worker import statesampler

_sampling: Any = statesampler
_end_sampling = _sampling.StateSampler.stop
_CONTAINERS_BETWEEN_COLLECTIONS: Final = 100_000


def quieten_worker_process() -> None:
    """Leave out what costs time at every batch and is of no use here (docs/performance.md)."""
    _look_for_cycles_rarely()
    _do_not_sample()


def _look_for_cycles_rarely() -> None:
    """A batch makes thousands of lists and dictionaries, which die by their counts."""
    gc.freeze()
    gc.set_threshold(_CONTAINERS_BETWEEN_COLLECTIONS)


def _do_not_sample() -> None:
    """Beam starts a thread for each bundle that samples where its time goes, and waits for it to wake from its sleep.

    That is two milliseconds and more a bundle, for numbers that Flink does not show.
    """
    _sampling.StateSampler.start = _start
    _sampling.StateSampler.stop = _stop


def _start(sampler: Any) -> None:
    sampler.tracked_thread = threading.current_thread()
    _sampling.set_current_tracker(sampler)
    sampler.started, sampler.samples = True, False


def _stop(sampler: Any) -> None:
    if getattr(sampler, "samples", True):  # it was started before this took over, in the process's first bundle
        _end_sampling(sampler)
        return
    _sampling.set_current_tracker(None)
    sampler.finished = True
