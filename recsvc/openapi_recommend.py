"""What OpenAPI says of the routes that recommend."""

from __future__ import annotations

from typing import Any

from recsvc.guests import MOST_SESSION_EVENTS
from recsvc.openapi_parts import answer, body, in_path, in_query, operation
from recsvc.openapi_shapes import NUMBER, STRING, list_of, object_of, reference
from recsvc.recommend_routes import LARGEST_N, MOST_EXCLUDED

_TRUTH = {"type": "boolean", "default": False}
_COUNT = in_query("n", {"type": "integer", "minimum": 1, "maximum": LARGEST_N, "default": 10})
WISH = [
    _COUNT,
    {
        **in_query("exclude", STRING),
        "description": f"product ids that are not wanted, separated by commas, {MOST_EXCLUDED} at most",
    },
    in_query("category", STRING),
    in_query("min_price", NUMBER),
    in_query("max_price", NUMBER),
    {**in_query("include_bought", _TRUTH), "description": "what the user has bought or rated too"},
    {**in_query("exclude_seen", _TRUTH), "description": "nothing that the user has had to do with"},
    {**in_query("explain", _TRUTH), "description": "with the parts that each score is the sum of"},
]
_OF_A_USER = ("include_bought", "exclude_seen")


def recommend_paths(user: dict[str, Any], product: dict[str, Any], *awaiting: dict[str, Any]) -> dict[str, Any]:
    """Describe the paths; ``awaiting`` are the parameters by which an answer waits for an event."""
    events = {**list_of(reference("SessionEvent")), "minItems": 1, "maxItems": MOST_SESSION_EVENTS}
    session = {**object_of(events=events), "example": {"events": [{"product_id": "p1", "event_type": "view"}]}}
    return {
        "/recommend/{user_id}": {
            "parameters": [user, *WISH, *awaiting],
            "get": operation("Tags and products", {"200": answer("the answer", reference("Recommendation"))}, 400, 429),
        },
        "/recommend/session": {
            "parameters": WISH,
            "post": operation(
                "The same for a guest, by the events of the request alone, which need no user_id",
                {"200": answer("the answer", reference("SessionRecommendation"))},
                *(400, 411, 413, 415, 429),
                requestBody=body(session),
            ),
        },
        "/recommendations/{user_id}": {
            "parameters": [in_path("user_id", type="integer", minimum=0), *WISH],
            "get": operation(
                "Products as an array, with what the catalogue says of each and the user's rating",
                {"200": answer("the products", reference("DetailedRecommendations"))},
                *(400, 404, 429),
            ),
        },
        "/similar/{product_id}": {
            "parameters": [product, *(each for each in WISH if each["name"] not in _OF_A_USER)],
            "get": operation(
                "What was taken with a product, or where nothing is known of that, what shares its tags",
                {"200": answer("the products", reference("Similar"))},
                *(400, 404, 429),
            ),
        },
    }
