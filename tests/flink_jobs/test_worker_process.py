"""What a worker process is spared."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest
from apache_beam.runners.worker import statesampler
from apache_beam.utils.counters import CounterFactory

from flink_jobs.worker_process import quieten_worker_process


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A worker process that has asked for quiet, as it was before afterwards."""
    for name in ("start", "stop"):
        monkeypatch.setattr(statesampler.StateSampler, name, getattr(statesampler.StateSampler, name))
    threshold = gc.get_threshold()
    yield quieten_worker_process
    gc.unfreeze()
    gc.set_threshold(*threshold)


def test_a_bundle_needs_no_thread_of_its_own(quiet: Any) -> None:
    """A sampler serves bundle after bundle, without a thread, and is the current one meanwhile."""
    quiet()
    sampler: Any = statesampler.StateSampler("bundle", CounterFactory())
    before = threading.active_count()
    for _ in range(3):
        sampler.start()
        assert threading.active_count() == before
        assert statesampler.get_current_tracker() is sampler
        assert sampler.get_info().tracked_thread is threading.current_thread()
        sampler.stop_if_still_running()
        assert statesampler.get_current_tracker() is None
        sampler.commit_counters()
        sampler.reset()


def test_the_bundle_in_which_quiet_is_asked_for_ends_its_thread(quiet: Any) -> None:
    """Functions open inside the first bundle, whose sampling has begun."""
    sampler: Any = statesampler.StateSampler("bundle", CounterFactory())
    before = threading.active_count()
    sampler.start()
    quiet()
    sampler.stop_if_still_running()
    assert threading.active_count() == before
