"""Files of other shops and data sets: what they call the members of an event, and what they write in them.

Ratings of Amazon's reviews, with or without a header (user, item, rating, time), and behaviour logs (view, cart, buy)
under the usual names. A rating stands for an event as in the MovieLens data: 4 and more a purchase, 3 a product put
into the cart, less a view.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from reccore.dead_letters import Reason
from reccore.errors import RejectedEvent, shown
from reccore.event_types import ADD_TO_CART, PURCHASE, VIEW
from reccore.events import LONGEST_TAG, MOST_TAGS

CONTRACT_NAMES: Final = frozenset(
    {
        "event_id", "user_id", "product_id", "item_id", "event_type", "action", "timestamp", "process_time", "tags",
        "session_id", "metadata",
    }
)  # fmt: skip
RATINGS_HEADER: Final = ("user", "item", "rating", "timestamp")
"""The columns of a file of ratings that has no header."""

_NAMES: Final[Mapping[str, Sequence[str]]] = {
    "event_id": ("event_id",),
    "user_id": ("user_id", "userid", "user", "visitorid", "visitor_id", "customer_id", "reviewerid", "uid"),
    "product_id": ("product_id", "item_id", "itemid", "parent_asin", "asin", "item", "product", "productid"),
    "event_type": ("event_type", "action", "event", "behavior_type", "behavior", "behaviour", "action_type"),
    "rating": ("rating", "overall", "stars"),
    "timestamp": ("timestamp", "process_time", "event_time", "unixreviewtime", "sort_timestamp", "time"),
    "tags": ("tags", "category_code", "categories", "category", "main_category", "category_id"),
    "session_id": ("session_id", "user_session"),
}
_EVENTS: Final = {"pv": VIEW, "buy": PURCHASE, "fav": VIEW, "favorite": VIEW, "wish": VIEW, "order": PURCHASE}
_PURCHASE_FROM, _CART_FROM = 4.0, 3.0


def columns(names: Sequence[str]) -> dict[str, str]:
    """Tell which column holds what: by member of the contract, or ``rating``; left out what there is no column for."""
    present = {name.strip().lower(): name for name in reversed(names)}
    found = {member: next((present[each] for each in known if each in present), "") for member, known in _NAMES.items()}
    return {member: name for member, name in found.items() if name}


def is_behaviour(names: Sequence[str]) -> bool:
    """Whether these columns make events, but who, which product, what or when stands under another name."""
    known = columns(names)
    if not {"user_id", "product_id"} <= known.keys() or not {"event_type", "rating"} & known.keys():
        return False
    needed = [known[member] for member in ("user_id", "product_id", "event_type", "timestamp") if member in known]
    return "event_type" not in known or not CONTRACT_NAMES.issuperset(needed)


def is_rating(cells: Sequence[str]) -> bool:
    """Whether the first line of a file is a rating already: user, item, one to five, seconds."""
    if len(cells) != len(RATINGS_HEADER):
        return False
    try:
        return 0 <= float(cells[2]) <= 10 and int(cells[3]) > 0
    except ValueError:
        return False


def as_event(fields: Mapping[str, object], known: Mapping[str, str]) -> dict[str, object]:
    """Give a row as an event of the contract; ``known`` are its ``columns``. Raises :class:`RejectedEvent`."""
    event = {
        member: fields[name] for member, name in known.items() if member != "rating" and fields.get(name) is not None
    }
    if "event_type" in event:
        named = str(event["event_type"])
        event["event_type"] = _EVENTS.get(named.strip().lower(), named)
    elif "rating" in known:
        event["event_type"] = _type_of_rating(fields.get(known["rating"]))
    if isinstance(time := event.get("timestamp"), str):
        event["timestamp"] = number_or_text(time.strip().removesuffix(" UTC"))
    if "tags" in event:
        event["tags"] = _tags(event["tags"])
    for name in ("user_id", "product_id"):
        if isinstance(event.get(name), float):
            event[name] = str(event[name]).removesuffix(".0")
    return event


def _type_of_rating(rating: object) -> str:
    try:
        value = float(rating)  # type: ignore[arg-type]  # what is no number raises
    except (TypeError, ValueError) as exc:
        raise RejectedEvent(Reason.INVALID_EVENT_TYPE, f"rating: {shown(rating)}, a number is allowed") from exc
    return PURCHASE if value >= _PURCHASE_FROM else ADD_TO_CART if value >= _CART_FROM else VIEW


def number_or_text(text: str) -> int | float | str:
    """Read a number where there is one, as epoch times are written."""
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def _tags(value: object) -> list[str]:
    """Take categories as tags: ``electronics.smartphone`` is two, a list as many as it has, of no more than may be."""
    given = value if isinstance(value, list | tuple) else str(value).replace("|", ".").split(".")
    texts = (str(part).strip()[:LONGEST_TAG] for part in given if part is not None)
    return list(dict.fromkeys(text for text in texts if text))[:MOST_TAGS]
