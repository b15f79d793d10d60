"""`/products` and `/products/<id>`."""

from __future__ import annotations

import math

from flask import Blueprint, Response, request

from reccore.events import LONGEST_ID
from recsvc.catalogue import MOST_PRODUCTS, Catalogue
from recsvc.problems import invalid
from recsvc.user_routes import answer, identifier, whole_number
from recsvc.wanted import Wanted


def product_routes(catalogue: Catalogue) -> Blueprint:
    """The routes that answer about products."""
    routes = Blueprint("products", __name__)

    @routes.get("/products")
    def products() -> Response:
        wanted = wanted_products()
        return answer(catalogue.page(wanted, whole_number("n", 1, MOST_PRODUCTS), text("after")))

    @routes.get("/products/<anytext:product_id>")
    def product(product_id: str) -> Response:
        return answer(catalogue.product(identifier(product_id, "product_id")))

    return routes


def wanted_products() -> Wanted:
    """Read which products are wanted. Raises ``Problem``."""
    return Wanted(text("category"), price("min_price"), price("max_price"))


def text(name: str) -> str | None:
    """Read a text of the query, None where it is not given. Raises ``Problem``."""
    given = request.args.getlist(name)
    if not given:
        return None
    if len(given) > 1 or not 1 <= len(given[0]) <= LONGEST_ID:
        raise invalid(name, ",".join(given), f"text of 1 to {LONGEST_ID} characters, given once")
    return given[0]


def price(name: str) -> float | None:
    """Read a price of the query, None where it is not given. Raises ``Problem``."""
    given = text(name)
    if given is None:
        return None
    try:
        found = float(given)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise invalid(name, given, "a number >= 0")
    return found
