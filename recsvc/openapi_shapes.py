"""The shapes of what is sent and answered, as OpenAPI describes them."""

from __future__ import annotations

from typing import Any

from reccore.ratings import HIGHEST, LOWEST
from recsvc.own_writes import STATES

NUMBER = {"type": "number"}
STRING = {"type": "string"}
INTEGER = {"type": "integer"}
TIME = {"type": ["string", "null"], "format": "date-time"}
FREE = {"type": "object"}
TEXT = {"type": ["string", "null"]}


def object_of(**properties: Any) -> dict[str, Any]:
    """Describe an object, all of whose members are there."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def perhaps(shape: dict[str, Any], **properties: Any) -> dict[str, Any]:
    """Add members to an object that may be missing."""
    return {**shape, "properties": {**shape["properties"], **properties}}


def one_of_names(shape: dict[str, Any], *names: tuple[str, ...]) -> dict[str, Any]:
    """Require one of the names that each of some members goes by."""
    return {**shape, "allOf": [{"anyOf": [{"required": [each]} for each in pair]} for pair in names]}


def list_of(items: Any) -> dict[str, Any]:
    """Describe an array."""
    return {"type": "array", "items": items}


def reference(name: str) -> dict[str, str]:
    """Refer to one of the shapes below."""
    return {"$ref": f"#/components/schemas/{name}"}


_PRODUCT = {
    "product_id": STRING,
    "name": TEXT,
    "category": TEXT,
    "price": {"type": ["number", "null"]},
    "tags": list_of(STRING),
}
_ID = {"type": ["string", "integer"]}
_PARTS = {**list_of(reference("Part")), "description": "with `explain=true`; they add up to the score"}
_SOURCE = {
    "enum": ["neighbours", "als", "tags", "popular"],
    "description": "what gives most of the score: a ranking of the trained model, tags, or everybody",
}
_RECOMMENDED_PRODUCT = {
    **perhaps(
        object_of(product_id=STRING, score=NUMBER, source=_SOURCE),
        name=STRING,
        popularity=NUMBER,
        affinity=NUMBER,
        parts=_PARTS,
    ),
    "description": "`name` where the catalogue has one; popularity and affinity of `tags` and `popular`: "
    "score = popularity × affinity",
}
_RECOMMENDED = {
    "source": {"enum": ["profile", "popular"]},
    "weights_version": INTEGER,
    "as_of": TIME,
    "degraded": {"type": "boolean"},
    "tags": list_of(perhaps(object_of(tag=STRING, score=NUMBER), parts=_PARTS)),
    "products": list_of(_RECOMMENDED_PRODUCT),
}
_PUSHED = {
    "status": {"enum": ["ok", "no_history"], "description": "no_history: nothing was sent of this user"},
    "user_id": STRING,
    "history_items_count": INTEGER,
}
_EVENT = {
    "event_id": TEXT,
    "product_id": _ID,
    "item_id": _ID,
    "event_type": {**STRING, "description": "`click` and `cart` are known too"},
    "action": {**STRING, "description": "another name of event_type"},
    "timestamp": {"type": ["string", "number", "null"]},
    "process_time": {"type": ["string", "number", "null"], "description": "another name of timestamp"},
    "tags": {"type": ["array", "null"], "items": STRING},
    "session_id": TEXT,
    "metadata": {"type": ["object", "null"]},
}
_EVENT_NAMES = (("product_id", "item_id"), ("event_type", "action"))
SCHEMAS: dict[str, Any] = {
    "Recommendation": perhaps(object_of(user_id=STRING, **_RECOMMENDED), after=reference("After")),
    "SessionRecommendation": object_of(**_RECOMMENDED),
    "After": {
        **perhaps(object_of(position=STRING, state={"enum": list(STATES)}), reason=STRING),
        "description": "what has become of the event that the answer was asked to wait for",
    },
    "Part": {
        **perhaps(
            object_of(value=NUMBER), product_id=STRING, source=STRING, event_type=STRING, count=NUMBER, weight=NUMBER
        ),
        "description": "what one kind of events, or one product of the user's history, adds to a score",
    },
    "Similar": object_of(
        product_id=STRING,
        weights_version=INTEGER,
        degraded={"type": "boolean"},
        products=list_of(_RECOMMENDED_PRODUCT),
    ),
    "DetailedRecommendations": list_of(
        perhaps(
            object_of(
                **_PRODUCT,
                score=NUMBER,
                source=_SOURCE,
                description=TEXT,
                attributes={"type": ["object", "null"]},
                rating={"type": ["number", "null"], "description": "the user's own"},
            ),
            parts=_PARTS,
        )
    ),
    "Events": object_of(
        user_id=STRING,
        degraded={"type": "boolean"},
        events=list_of(
            object_of(
                product_id=STRING,
                event_type=STRING,
                timestamp={**STRING, "format": "date-time"},
                timestamp_ms=INTEGER,
                position=STRING,
            )
        ),
    ),
    "Features": {
        **object_of(
            user_id=STRING,
            degraded={"type": "boolean"},
            user_last_interaction=TIME,
            products={
                "type": "object",
                "additionalProperties": object_of(
                    user_product_views=INTEGER,
                    user_product_purchases=INTEGER,
                    user_product_avg_time={"type": ["number", "null"], "description": "milliseconds"},
                ),
            },
            categories={
                "type": "object",
                "additionalProperties": object_of(user_category_views=INTEGER, user_category_purchases=INTEGER),
            },
        ),
        "description": "`attributes` likewise, where the service is told of some",
    },
    "Product": object_of(**_PRODUCT),
    "ProductDetails": object_of(
        **_PRODUCT,
        description=TEXT,
        attributes={"type": ["object", "null"]},
        events={"type": "object", "additionalProperties": INTEGER, "description": "everybody's, by type"},
        degraded={"type": "boolean"},
    ),
    "Products": object_of(
        products=list_of(reference("Product")),
        next={**TEXT, "description": "`after` of the next page; null: this is the last"},
        total={**INTEGER, "description": "products that match, on all pages"},
        degraded={"type": "boolean"},
    ),
    "Profile": object_of(
        user_id=STRING,
        weights_version=INTEGER,
        as_of=TIME,
        degraded={"type": "boolean"},
        tags={"type": "object", "additionalProperties": NUMBER, "description": "score by tag"},
    ),
    "Weights": {
        **object_of(view=NUMBER, add_to_cart=NUMBER, purchase=NUMBER),
        "additionalProperties": NUMBER,
        "example": {"view": 1, "add_to_cart": 3, "purchase": 5},
    },
    "Profiles": object_of(
        weights_version=INTEGER,
        degraded={"type": "boolean"},
        profiles={"type": "object", "additionalProperties": reference("Profile"), "description": "by user id"},
    ),
    "Event": {
        **one_of_names(
            {"type": "object", "properties": {"user_id": _ID, **_EVENT}, "required": ["user_id"]}, *_EVENT_NAMES
        ),
        "example": {"event_id": "e-1", "user_id": "u1", "product_id": "p1", "event_type": "view", "tags": ["shoes"]},
    },
    "SessionEvent": {
        **one_of_names({"type": "object", "properties": _EVENT}, *_EVENT_NAMES),
        "example": {"product_id": "p1", "event_type": "view"},
    },
    "Rating": {
        **one_of_names(
            {
                "type": "object",
                "properties": {
                    **dict.fromkeys(("user_id", "userId", "product_id", "item_id", "movieId"), _ID),
                    "rating": {**NUMBER, "minimum": LOWEST, "maximum": HIGHEST},
                    **{name: _EVENT[name] for name in ("timestamp", "process_time", "event_id")},
                },
                "required": ["rating"],
            },
            ("user_id", "userId"),
            ("product_id", "item_id", "movieId"),
        ),
        "example": {"userId": "u1", "movieId": "p1", "rating": 4.5},
    },
    "Ratings": {
        **object_of(
            user_id=STRING,
            degraded={"type": "boolean"},
            ratings=list_of(
                object_of(
                    product_id=STRING, rating=NUMBER, timestamp={**STRING, "format": "date-time"}, timestamp_ms=INTEGER
                )
            ),
        ),
        "example": {
            "user_id": "u1",
            "degraded": False,
            "ratings": [
                {
                    "product_id": "p1",
                    "rating": 4.5,
                    "timestamp": "2023-11-14T22:13:20.123Z",
                    "timestamp_ms": 1_700_000_000_123,
                }
            ],
        },
    },
    "WhoseInterests": {
        "type": "object",
        "properties": {
            "user_id": {"type": ["string", "integer"]},
            "timestamp": {"type": ["string", "number", "null"], "description": "the history before it; default: now"},
        },
        "required": ["user_id"],
        "example": {"user_id": "u1", "timestamp": 1_700_000_000_000},
    },
    "Pushed": {
        **object_of(**_PUSHED),
        "example": {"status": "ok", "user_id": "u1", "history_items_count": 50},
    },
    "PushedSome": {
        **object_of(**_PUSHED, others=INTEGER, sent=INTEGER),
        "example": {"status": "ok", "user_id": "u1", "history_items_count": 50, "others": 42, "sent": 43},
    },
    "Interests": {
        **object_of(
            user_id=STRING,
            degraded={"type": "boolean"},
            timestamp=TIME,
            timestamp_ms={"type": ["integer", "null"]},
            items=INTEGER,
            weights_version={"type": ["integer", "null"]},
            interests={"type": "object", "additionalProperties": NUMBER, "description": "a vector of length 1 by tag"},
        ),
        "example": {
            "user_id": "u1",
            "degraded": False,
            "timestamp": "2023-11-14T22:13:20.123Z",
            "timestamp_ms": 1_700_000_000_123,
            "items": 50,
            "weights_version": 192,
            "interests": {"shoes": 0.6, "red": 0.8},
        },
    },
    "Batch": object_of(
        accepted=INTEGER,
        rejected=list_of(object_of(index=INTEGER, field=STRING, reason=STRING, detail=STRING)),
        unavailable=INTEGER,
        took_ms=NUMBER,
        results=list_of(object_of(index=INTEGER, status=INTEGER, outcome=STRING)),
    ),
    "Problem": {
        **perhaps(
            object_of(type=STRING, title=STRING, status=INTEGER, detail=STRING, request_id=STRING),
            errors=list_of(object_of(field=STRING, value={}, allowed=STRING)),
        ),
        "description": "RFC 9457; `errors` names each wrong member",
    },
}
