"""Python's cyclic garbage collector in a worker process."""

from __future__ import annotations

import gc
from typing import Final

_CONTAINERS_BETWEEN_COLLECTIONS: Final = 100_000


def quieten_garbage_collector() -> None:
    """Look for cycles rarely: a batch makes thousands of lists and dictionaries, which die by their counts.

    With the default, a look every 700 containers, that was 8 % of a worker's time (docs/performance.md).
    """
    gc.freeze()
    gc.set_threshold(_CONTAINERS_BETWEEN_COLLECTIONS)
