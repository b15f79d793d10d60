"""What can go wrong with a benchmark."""


class BenchmarkError(Exception):
    """A benchmark could not be measured; the message says what was waited for, or what was wrong."""
