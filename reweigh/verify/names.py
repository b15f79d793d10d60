"""Names of the public contract, written down once more: what counts anew takes nothing from the job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

TYPE_ALIASES: Final[Mapping[str, str]] = {
    "click": "view",
    "cart": "add_to_cart",
    "addtocart": "add_to_cart",
    "transaction": "purchase",
}
PURCHASE: Final = "purchase"
