"""Requests made up from the service's own description: each route, parameter and member of it, right and wrong."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

VALUES: Final[tuple[object, ...]] = (
    None, True, 0, -1, 1.5, 1e308, 10**40, "", "x", "é", "\u0000", "\ud800", "../..", "%00", "a" * 300, [], {}, [None],
    {"view": -1}, {"view": 1, "add_to_cart": 3, "purchase": 5}, "weights", "ranking", "nan", "1e999", "view-events:0:0",
)  # fmt: skip
"""What is put where something else is described."""

_NO_PRODUCT: Final[tuple[object, ...]] = (None, [], {}, "", "p" * 200)
_METHODS: Final = ("get", "put", "post", "delete", "patch")
_LETTERS: Final = "abcxyz0179-_.,:/ éß"
_LONGEST_TEXT: Final = 20
_MOST_ITEMS: Final = 3
_OFTEN, _SELDOM = 0.7, 0.03


@dataclass(frozen=True, slots=True)
class MadeUp:
    """A request; without a body where none is described."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: object = None


class Maker:
    """Makes requests for an OpenAPI document; the same lots make the same ones.

    Args:
        document: What `/openapi.json` answers.
        lots: Where chance comes from.
        right: How probable it is that a value is as its schema says; the others are drawn from ``VALUES``.
    """

    def __init__(self, document: Mapping[str, Any], lots: random.Random, *, right: float = 0.8) -> None:
        self._paths, self._schemas = document["paths"], document["components"]["schemas"]
        self._lots, self._right = lots, right
        self.routes = [
            (method.upper(), path) for path, found in self._paths.items() for method in _METHODS if method in found
        ]

    def request(self, method: str, path: str) -> MadeUp:
        """Make one to a route. Parts of the path are always there, other parameters mostly."""
        operation = self._paths[path][method.lower()]
        target, query, headers = path, [], {}
        for each in (*self._paths[path].get("parameters", ()), *operation.get("parameters", ())):
            name, place = each["name"], each["in"]
            if place != "path" and self._lots.random() > _OFTEN:
                continue
            value = _as_text(self.value(each["schema"]))
            if place == "path":
                target = target.replace(f"{{{name}}}", quote(value.encode("utf-8", "replace"), safe="/"))
            elif place == "query":
                query += [f"{name}={quote(value.encode('utf-8', 'replace'))}"] * (1 + (self._lots.random() < _SELDOM))
            else:
                headers[name] = quote(value.encode("utf-8", "replace"), safe='"/*, ')
        target += f"?{'&'.join(query)}" if query else ""
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        return MadeUp(method, target, headers, None if content is None else self.value(content["schema"]))

    def value(self, schema: Mapping[str, Any]) -> object:
        """Make what a schema describes, or something else; members of what is right may be wrong in their turn."""
        if "$ref" in schema:
            return self.value(self._schemas[schema["$ref"].rpartition("/")[2]])
        if self._lots.random() >= self._right:
            return self._lots.choice(VALUES)
        if "example" in schema and self._lots.random() < 1 - _OFTEN:
            return schema["example"]
        if "anyOf" in schema:
            return self.value(self._lots.choice(schema["anyOf"]))
        if "enum" in schema:
            return self._lots.choice(schema["enum"])
        kinds = schema.get("type", "object")
        return self._of_type(kinds if isinstance(kinds, str) else self._lots.choice(kinds), schema)

    def _of_type(self, kind: str, schema: Mapping[str, Any]) -> object:
        lots = self._lots
        if kind == "object":
            return self._object(schema)
        if kind == "array":
            least, most = schema.get("minItems", 0), schema.get("maxItems", _MOST_ITEMS)
            if lots.random() < _SELDOM:
                return [self.value(schema["items"])] * (most + 1)
            return [self.value(schema["items"]) for _ in range(lots.randint(least, max(least, min(most, _MOST_ITEMS))))]
        if kind == "string":
            least, most = schema.get("minLength", 0), schema.get("maxLength", _LONGEST_TEXT)
            length = most if lots.random() < _SELDOM else lots.randint(least, min(most, _LONGEST_TEXT))
            return "".join(lots.choices(_LETTERS, k=length))
        if kind in ("integer", "number"):
            least, most = schema.get("minimum", 0), schema.get("maximum", 1_000)
            return lots.randint(int(least), int(most)) if kind == "integer" else lots.uniform(least, most)
        return lots.random() < 0.5 if kind == "boolean" else None

    def _object(self, schema: Mapping[str, Any]) -> dict[str, object]:
        required, further = schema.get("required", ()), schema.get("additionalProperties")
        made = {
            name: self.value(each)
            for name, each in schema.get("properties", {}).items()
            if self._lots.random() < (1 - _SELDOM if name in required else _OFTEN)
        }
        if isinstance(further, Mapping) and self._lots.random() < 1 - _OFTEN:
            made["x"] = self.value(further)
        return made


def without_products(lots: random.Random, value: object) -> object:
    """Give the same with something that is no product's id in every event, so that none of them counts."""
    if isinstance(value, list):
        return [without_products(lots, each) for each in value]
    if not isinstance(value, dict):
        return value
    changed = {name: without_products(lots, each) for name, each in value.items() if name != "item_id"}
    return {**changed, "product_id": lots.choice(_NO_PRODUCT)}


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
