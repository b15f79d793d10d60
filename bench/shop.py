"""A shop of made-up products, customers and a model, written straight into Redis, for what answers by them."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import numpy as np

from bench import stored_users
from reccore import encoding, layout
from recsvc.models.model import Model, Parameters
from recsvc.models.store import ModelStore

TAGS, ALL_TAGS, TAGS_A_PRODUCT = 40, 200, 3
BOUGHT = 5
_NEWEST_MS = 1_700_000_000_000
_AT_ONCE = 2_000
_NEIGHBOURS, _FACTORS = 50, 32


def write(client: Any, users: int, products: int, history: int) -> None:
    """Write products, and customers who have had to do with so many; tell every process that holds them to load."""
    numbers = range(users)
    stored_users.write_counts(client, numbers, TAGS, ALL_TAGS)
    stored_users.write_profiles(client, numbers, TAGS, ALL_TAGS)
    write_histories(client, numbers, products, history)
    _write_products(client, products)
    client.incrby(layout.CATALOG_VERSION, 1 + random.SystemRandom().randint(1, 10**9))


def publish_model(url: str, products: int) -> Model:
    """Publish a model of these products with as many neighbours and factors as `reweigh train` gives by default."""
    draw = np.random.default_rng(7)
    width = min(_NEIGHBOURS, products - 1)
    factors = (draw.standard_normal((products, _FACTORS)) / 10).astype(np.float32)
    model = Model(
        product_ids=tuple(product_id(number) for number in range(products)),
        neighbours=draw.integers(products, size=(products, width), dtype=np.int32),
        similarities=np.sort(draw.random((products, width), dtype=np.float32))[:, ::-1].copy(),
        factors=factors,
        gram=factors.T.astype(np.float64) @ factors.astype(np.float64),
        parameters=Parameters(blend=0.5, alpha=1.0, regularization=10.0),
        trained_at=datetime.now(UTC).isoformat(),  # the service knows a model by version and time
    )
    with closing(ModelStore(url)) as store:
        return store.publish(model)


def product_id(number: int) -> str:
    """Give the id of a product by number; the low ones are popular."""
    return f"product-{number}"


def write_histories(client: Any, numbers: Sequence[int], products: int, history: int) -> None:
    """Write what customers have had to do with, and what they have bought, of so many products."""
    draw = random.Random(5)
    for start in range(0, len(numbers), _AT_ONCE):
        pipeline = client.pipeline(transaction=False)
        for number in numbers[start : start + _AT_ONCE]:
            user_id = stored_users.user_id(number)
            bought = draw.sample(range(products), BOUGHT)
            had = [*bought, *(int(products * draw.random() ** 3) for _ in range(history - BOUGHT))] if history else []
            for place, each in enumerate(had):
                row = encoding.encode_counts(
                    (draw.randint(1, 5), int(place < 2 * BOUGHT), int(place < BOUGHT)), _NEWEST_MS
                )
                pipeline.hset(layout.items_key(user_id), product_id(each), row)
            pipeline.sadd(layout.purchased_key(user_id), *map(product_id, bought))
        pipeline.execute()


def _write_products(client: Any, products: int) -> None:
    draw = random.Random(5)
    of_tags = {f"tag-{tag}": [0, 0, 0] for tag in range(ALL_TAGS)}
    for start in range(0, products, _AT_ONCE):
        rows: dict[str, str] = {}
        catalogue: dict[str, str] = {}
        for number in range(start, min(start + _AT_ONCE, products)):
            counts = [1 + 40_000 // (number + 10), 1 + 1_000 // (number + 10), 300 // (number + 10)]
            tags = [f"tag-{tag}" for tag in draw.sample(range(ALL_TAGS), TAGS_A_PRODUCT)]
            rows[product_id(number)] = encoding.encode_product_statistics(counts, _NEWEST_MS, tags)
            product = {"name": f"Product {number}", "tags": tags, "price": number / 4, "category": "shop"}
            catalogue[product_id(number)] = json.dumps(product)
            for tag in tags:
                of_tags[tag] = [have + more for have, more in zip(of_tags[tag], counts, strict=True)]
        pipeline = client.pipeline(transaction=False)
        pipeline.hset(layout.PRODUCT_STATISTICS, mapping=rows)
        pipeline.hset(layout.CATALOG, mapping=catalogue)
        pipeline.execute()
    tag_rows = {tag: encoding.encode_tag_statistics(counts, _NEWEST_MS) for tag, counts in of_tags.items()}
    client.hset(layout.TAG_STATISTICS, mapping=tag_rows)
