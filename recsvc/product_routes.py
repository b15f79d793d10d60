"""`/products` and `/products/<id>`."""

from __future__ import annotations

import math

from flask import Blueprint, Response, request

from reccore.events import LONGEST_ID
from recsvc.catalogue import MOST_PRODUCTS, Catalogue, Wanted
from recsvc.problems import invalid
from recsvc.user_routes import answer, identifier, whole_number


def product_routes(catalogue: Catalogue) -> Blueprint:
    """The routes that answer about products."""
    routes = Blueprint("products", __name__)

    @routes.get("/products")
    def products() -> Response:
        wanted = Wanted(_text("category"), _price("min_price"), _price("max_price"))
        return answer(catalogue.page(wanted, whole_number("n", 1, MOST_PRODUCTS), _text("after")))

    @routes.get("/products/<anytext:product_id>")
    def product(product_id: str) -> Response:
        return answer(catalogue.product(identifier(product_id, "product_id")))

    return routes


def _text(name: str) -> str | None:
    given = request.args.getlist(name)
    if not given:
        return None
    if len(given) > 1 or not 1 <= len(given[0]) <= LONGEST_ID:
        raise invalid(name, ",".join(given), f"text of 1 to {LONGEST_ID} characters, given once")
    return given[0]


def _price(name: str) -> float | None:
    text = _text(name)
    if text is None:
        return None
    try:
        price = float(text)
    except ValueError:
        price = math.nan
    if not 0 <= price < math.inf:
        raise invalid(name, text, "a number >= 0")
    return price
