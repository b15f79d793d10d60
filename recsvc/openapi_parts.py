"""Parts that descriptions of routes are put together from."""

from __future__ import annotations

from typing import Any

from recsvc.openapi_shapes import STRING, reference


def answer(what: str, schema: Any) -> dict[str, Any]:
    """Describe an answer in JSON."""
    return {"description": what, "content": {"application/json": {"schema": schema}}}


def operation(summary: str, success: dict[str, Any], *problems: int, **more: Any) -> dict[str, Any]:
    """Describe what a method does; ``problems`` are the statuses of errors."""
    problem = {"application/problem+json": {"schema": reference("Problem")}}
    responses = {**success, **{str(each): {"description": "problem", "content": problem} for each in problems}}
    return {"summary": summary, "responses": responses, **more}


def body(schema: Any) -> dict[str, Any]:
    """Describe a required body."""
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def in_path(name: str, **schema: Any) -> dict[str, Any]:
    """Describe a part of the path."""
    return {"name": name, "in": "path", "required": True, "schema": {**STRING, **schema}}


def in_query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Describe a parameter of the query."""
    return {"name": name, "in": "query", "schema": schema}
