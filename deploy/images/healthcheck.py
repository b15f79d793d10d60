#!/usr/bin/python3.11
"""What the images ask themselves: does a URL answer, or is a file fresh? Standard library only, as it starts often.

healthcheck URL             healthy when the answer has a status of 2xx within three seconds
healthcheck FILE SECONDS    healthy when the file was touched within so many seconds

Exit code 0: healthy; 1: not, with the reason; 2: wrong arguments.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

PATIENCE_SECONDS = 3.0


def main(arguments: list[str]) -> int:
    """Judge, and give the exit code."""
    match arguments:
        case [url] if url.startswith(("http://", "https://")):
            trouble = answers(url)
        case [file, seconds] if seconds.isdecimal():
            trouble = is_fresh(Path(file), int(seconds))
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    if trouble:
        print(trouble)
    return 1 if trouble else 0


def answers(url: str) -> str:
    """Say what is wrong with the answer, "" for nothing."""
    try:
        with urlopen(url, timeout=PATIENCE_SECONDS):  # noqa: S310 - main takes http and https only
            return ""
    except HTTPError as exc:
        exc.close()
        return f"{url} answers {exc.code}"
    except OSError as exc:
        return f"{url} does not answer: {exc}"


def is_fresh(file: Path, seconds: int) -> str:
    """Say what is wrong with the file, "" for nothing."""
    try:
        age = time.time() - file.stat().st_mtime
    except OSError as exc:
        return f"{file} is not there: {exc.strerror}"
    return "" if age <= seconds else f"{file} was touched {age:.0f} s ago"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
