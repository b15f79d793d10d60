"""Servers that refuse who isn't known."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

with warnings.catch_warnings():  # kafka-python 3.0 reads its own files in a way that Python 3.11 deprecates
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka  # noqa: F401

from tests.security.broker import SecuredBroker, secured_broker


@pytest.fixture(scope="package")
def broker() -> Iterator[SecuredBroker]:
    """A Kafka broker with one user."""
    with (
        tempfile.TemporaryDirectory(prefix="sec-", ignore_cleanup_errors=True) as folder,
        secured_broker(Path(folder)) as started,
    ):
        yield started
