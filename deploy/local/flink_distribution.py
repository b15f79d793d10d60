"""Where the Flink distribution is: the apache-flink package holds all of it."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

from deploy.local.errors import StackError


@cache
def flink_home() -> Path:
    """Return the folder with Flink's `bin` and `lib`, without importing PyFlink.

    Raises:
        StackError: The package is not installed.
    """
    found = importlib.util.find_spec("pyflink")
    if found is None or found.origin is None:
        raise StackError("the package apache-flink is not installed; run `make setup`")
    return Path(found.origin).parent
