"""The user, product and tag of the canary, whose events measure how fresh answers are (``reweigh canary``).

They are counted as any other, and take no part in what is recommended, learned or told of everybody.
"""

from __future__ import annotations

from typing import Final

CANARY: Final = "reweigh-canary"
