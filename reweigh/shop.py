"""A shop made up from a seed: long tails, sessions, planted preferences, and RetailRocket's mix of event types.

Popularity and activity follow power laws. Each person likes two categories and takes most products from them; carts and
purchases come from liked products more often than views do. Events come in sessions, cart and purchase after a view of
the same product. Everything is drawn in slices of time with a generator of their own, so memory is bounded by people
and products, not by events, and the same arguments give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

CARTS: Final = 0.025
PURCHASES: Final = 0.008
"""Shares of RetailRocket's 2,756,101 events; the other 96.7 % are views."""

FROM_LIKED: Final = 0.7
"""Chance that a product is taken from a liked category, not from the whole shop."""

EAGERNESS: Final = 4.0
"""How much likelier a liked product goes into the cart or is bought, once seen."""

TAGS_OF_CATEGORY: Final = 5
GENERAL_TAGS: Final = ("sale", "new", "gift", "eco", "premium", "outlet", "bestseller", "limited")
SLICE: Final = 100_000
"""Events drawn at a time."""

FIRST_DAY_MS: Final = 1_735_689_600_000
"""2025-01-01T00:00Z."""
DAYS: Final = 90

_TYPES: Final = ("view", "add_to_cart", "purchase")
_SESSION_EVENTS: Final = 5.0
_GAP_SECONDS: Final = 45.0

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Shop:
    """The people and products that events are drawn from.

    Products are numbered by category, so ``starts[c]:starts[c + 1]`` are those of category ``c``; ``reach`` are running
    sums of the products' popularity and ``activity`` of the people's, both beginning with 0; ``likes`` has one row of
    categories a person.
    """

    seed: int
    starts: Integers
    reach: Floats
    activity: Floats
    likes: Integers
    tags: tuple[tuple[str, ...], ...]
    prices: Floats

    @property
    def categories(self) -> int:
        """How many categories there are."""
        return len(self.starts) - 1

    @property
    def products(self) -> int:
        """How many products there are."""
        return len(self.tags)


def make_shop(users: int, products: int, seed: int) -> Shop:
    """Plan a shop of ``users`` people and ``products`` products, both at least 1."""
    draw = np.random.default_rng([seed, 0])
    categories = int(np.clip(products // 50, 1, 40))
    category = np.sort(draw.integers(0, categories, products))
    popularity = draw.permutation((np.arange(products) + 5.0) ** -0.9)
    activity = draw.permutation((np.arange(users) + 10.0) ** -0.7)
    likes = draw.integers(0, categories, (users, 1))
    if categories > 1:  # the second is any of the others
        likes = np.hstack([likes, (likes + draw.integers(1, categories, (users, 1))) % categories])
    pick = np.argsort(draw.random((products, TAGS_OF_CATEGORY)), axis=1)[:, :2]
    general = np.where(draw.random(products) < 0.3, draw.integers(0, len(GENERAL_TAGS), products), -1)
    return Shop(
        seed=seed,
        starts=np.searchsorted(category, np.arange(categories + 1)),
        reach=np.concatenate([[0.0], np.cumsum(popularity)]),
        activity=np.concatenate([[0.0], np.cumsum(activity)]),
        likes=likes,
        tags=tuple(_tags(int(category[i]), pick[i], int(general[i])) for i in range(products)),
        prices=np.round(draw.lognormal(3.0, 0.8, products), 2),
    )


def _tags(category: int, pick: Integers, general: int) -> tuple[str, ...]:
    own = tuple(f"c{category:02d}-{'abcde'[each]}" for each in sorted(pick.tolist()))
    return own if general < 0 else (*own, GENERAL_TAGS[general])


@dataclass(frozen=True, slots=True)
class Slice:
    """Events of one slice of time, each array as long as there are events; ``types`` index view, cart, purchase."""

    users: Integers
    products: Integers
    types: Integers
    times_ms: Integers
    sessions: Integers


def slices(shop: Shop, events: int) -> Iterator[Slice]:
    """Draw ``events`` events, slice by slice, the slices in the order of time."""
    width_ms = DAYS * 86_400_000 * SLICE / max(events, SLICE)
    for number, done in enumerate(range(0, events, SLICE)):
        draw = np.random.default_rng([shop.seed, 1, number])
        yield _draw_slice(shop, draw, min(SLICE, events - done), FIRST_DAY_MS + int(number * width_ms), width_ms)


def _draw_slice(shop: Shop, draw: np.random.Generator, size: int, begin_ms: int, width_ms: float) -> Slice:
    lengths = draw.geometric(1 / _SESSION_EVENTS, size)
    sessions = np.repeat(np.arange(size), lengths)[:size]
    first = np.concatenate([[True], sessions[1:] != sessions[:-1]])
    people = np.searchsorted(shop.activity, draw.random(size) * shop.activity[-1], side="right") - 1
    users = people[sessions]
    gaps = np.where(first, 0.0, draw.exponential(_GAP_SECONDS * 1000, size)) + 1
    elapsed = np.cumsum(gaps)
    elapsed -= elapsed[np.maximum.accumulate(np.where(first, np.arange(size), 0))]
    times = begin_ms + (draw.random(size) * width_ms)[sessions] + elapsed
    products = _seen_products(shop, draw, users)
    types = _types(draw, first, _liked(shop, users, products))
    # Cart and purchase take the product that was viewed last in the session.
    products = products[np.maximum.accumulate(np.where(types == 0, np.arange(size), 0))]
    order = np.argsort(times, kind="stable")
    return Slice(users[order], products[order], types[order], times.astype(np.int64)[order], sessions[order])


def _category(shop: Shop, products: Integers) -> Integers:
    numbers: Integers = np.searchsorted(shop.starts, products, side="right") - 1
    return numbers


def _liked(shop: Shop, users: Integers, products: Integers) -> NDArray[np.bool_]:
    liked: NDArray[np.bool_] = (shop.likes[users] == _category(shop, products)[:, None]).any(axis=1)
    return liked


def _seen_products(shop: Shop, draw: np.random.Generator, users: Integers) -> Integers:
    """Take each product by popularity: from one of the person's categories mostly, else from the whole shop."""
    chosen = shop.likes[users, draw.integers(0, shop.likes.shape[1], len(users))]
    low, high = shop.reach[shop.starts[chosen]], shop.reach[shop.starts[chosen + 1]]
    everywhere = (draw.random(len(users)) >= FROM_LIKED) | (low == high)
    low, high = np.where(everywhere, 0.0, low), np.where(everywhere, shop.reach[-1], high)
    places = low + draw.random(len(users)) * (high - low)
    found: Integers = np.minimum(np.searchsorted(shop.reach, places, side="right") - 1, shop.products - 1)
    return found


def _types(draw: np.random.Generator, first: NDArray[np.bool_], liked: NDArray[np.bool_]) -> Integers:
    """Make the exact share of events carts and purchases: never a session's first, sooner after a liked product."""
    size = len(first)
    after_liked = np.concatenate([[False], liked[:-1]])
    # The smallest of exponential draws, each over its weight: a weighted choice without repeats.
    chance = np.where(first, 1e-9, np.where(after_liked, EAGERNESS, 1.0))
    order = np.argsort(draw.exponential(1.0, size) / chance, kind="stable")
    purchases, carts = round(size * PURCHASES), round(size * CARTS)
    types = np.zeros(size, dtype=np.int64)
    types[order[:purchases]] = 2
    types[order[purchases : purchases + carts]] = 1
    types[first] = 0
    return types


def event_lines(shop: Shop, events: int, *, with_tags: bool = False) -> Iterator[str]:
    """Give one JSON line an event."""
    tags = [f', "tags": {json.dumps(each)}' if with_tags else "" for each in shop.tags]
    number = 0
    for part_number, part in enumerate(slices(shop, events)):
        columns = (part.users, part.products, part.types, part.times_ms, part.sessions)
        for user, product, kind, time_ms, session in zip(*(each.tolist() for each in columns), strict=True):
            yield (
                f'{{"event_id": "shop-{shop.seed}-{number}", "user_id": "u{user}", "product_id": "p{product}", '
                f'"event_type": "{_TYPES[kind]}", "timestamp": {time_ms}, '
                f'"session_id": "{part_number}-{session}"{tags[product]}}}\n'
            )
            number += 1


def product_lines(shop: Shop) -> Iterator[str]:
    """Give one JSON line a product."""
    category = _category(shop, np.arange(shop.products))
    for number, tags in enumerate(shop.tags):
        product = {
            "product_id": f"p{number}",
            "name": f"Product {number}",
            "tags": list(tags),
            "price": float(shop.prices[number]),
            "category": f"c{category[number]:02d}",
        }
        yield json.dumps(product) + "\n"


def preference_lines(shop: Shop) -> Iterator[str]:
    """Give one JSON line a person: the planted categories, to compare with what was learned."""
    for number, liked in enumerate(shop.likes.tolist()):
        yield json.dumps({"user_id": f"u{number}", "categories": [f"c{each:02d}" for each in sorted(liked)]}) + "\n"
