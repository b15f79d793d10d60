"""The description of the page for operators and of its data."""

from __future__ import annotations

from typing import Any

from recsvc.openapi_parts import answer, operation
from recsvc.openapi_shapes import FREE, INTEGER, NUMBER, STRING, TEXT, object_of, perhaps
from recsvc.ops.parts import PARTS

_FRESHNESS = perhaps(
    object_of(error={**TEXT, "description": "what is away; null where the other members tell"}),
    outcome={**TEXT, "description": "of the canary's last event: seen, late, refused; null: not measured"},
    seconds={**NUMBER, "description": "from sending it to its being in an answer, or to its being given up"},
    seconds_old={**NUMBER, "description": "since it was measured"},
    why={**STRING, "description": "there is no outcome"},
)


def ops_paths() -> dict[str, Any]:
    """Describe `/ops` and what its script asks for."""
    page = {"200": {"description": "HTML", "content": {"text/html": {"schema": STRING}}}}
    letters = operation(
        "The newest dead letters, with their reasons and the beginning of their contents",
        {"200": answer("the letters, the newest first; or `error`, what is away", FREE)},
        *(401, 403, 429),
    )
    letters["security"] = [{"bearer": []}, {"key": []}]
    shape = perhaps(object_of(now_ms=INTEGER), **dict.fromkeys(PARTS, FREE) | {"freshness": _FRESHNESS})
    data = answer("each part, with `error` None or what is away; counters since the start of the service", shape)
    return {
        "/ops": {"get": operation("The page for operators", page)},
        "/ops/data": {"get": operation("What the page shows, but for the dead letters' contents", {"200": data})},
        "/ops/dead-letters": {"get": letters},
    }
