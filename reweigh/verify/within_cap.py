"""Which tags of a user the cap leaves, and of which it can't be known.

A user's tags beyond the cap are not stored, but which ones these are depends on the events that had been applied by
then. A tag is sure to be stored if, with its sure events alone, it stands before the first that all events together
leave out; sure to be missing if enough others stand before it with their sure events alone, and none of its own may
just be being written: a row is written first, and what is beyond the cap removed afterwards. Events that may carry any
tag can lift any, also such as the log doesn't name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_MOST_TAGS_PER_EVENT: Final = 32


def within_cap(what: str, codes: Sequence[int], most: int, any_tags: str = "any_tags") -> str:
    """Give the statement that makes ``wanted_<what>`` of ``counted_<what>`` and ``any_tags``.

    ``kept`` says that the tag is stored once all events are applied, ``may_miss`` that it may not be there before.

    Args:
        what: ``users``, or ``items``, where products stand for tags.
        codes: The numbers of the event types: counts are in the columns ``c0``, …, the unsure among them in ``u0``, ….
        most: How many tags of a user are stored: those with most events, of equal ones the first by name.
        any_tags: Gives by user what events that may carry any tag come to.
    """
    return _STATEMENT.format(
        what=what,
        any_tags=any_tags,
        total=" + ".join(f"c{code}" for code in codes),
        unsure=" + ".join(f"u{code}" for code in codes),
        most=most,
    )


_STATEMENT: Final = f"""
CREATE OR REPLACE TABLE wanted_{{what}} AS
    WITH possible AS (SELECT user_id, {{total}} AS more, late FROM {{any_tags}}),
    crowded AS (
        SELECT user_id, coalesce(any_value(more), 0) AS more, coalesce(any_value(possible.late), false) AS any_late
        FROM counted_{{what}} LEFT JOIN possible USING (user_id)
        GROUP BY user_id HAVING count(*) + {_MOST_TAGS_PER_EVENT} * coalesce(any_value(more), 0) > {{most}}
    ), figures AS (
        SELECT user_id, tag, more, late OR any_late AS late, {{total}} AS total, {{total}} - ({{unsure}}) AS sure
        FROM counted_{{what}} JOIN crowded USING (user_id)
    ), ranked AS (
        SELECT *, row_number() OVER (PARTITION BY user_id ORDER BY total DESC, tag) AS turn,
            row_number() OVER (PARTITION BY user_id ORDER BY sure DESC, tag) AS sure_turn
        FROM figures
    ), edges AS (
        SELECT user_id, max(total + more) FILTER (turn = {{most}} + 1) AS first_out,
            max(tag) FILTER (turn = {{most}} + 1) AS first_out_tag,
            max(sure) FILTER (sure_turn = {{most}}) AS last_in, max(tag) FILTER (sure_turn = {{most}}) AS last_in_tag
        FROM ranked GROUP BY user_id
    ), decided AS (
        SELECT user_id, tag, turn <= {{most}} AS kept,
            coalesce(sure > first_out OR (sure = first_out AND tag < first_out_tag), true)
                AND (more = 0 OR sure > more) AS surely_kept,
            NOT late AND coalesce(last_in > total + more OR (last_in = total + more AND last_in_tag < tag), false)
                AS surely_out
        FROM ranked JOIN edges USING (user_id)
    )
    SELECT counted.*, coalesce(kept, true) AS kept, NOT coalesce(surely_kept, true) AS may_miss
    FROM counted_{{what}} AS counted LEFT JOIN decided USING (user_id, tag) WHERE NOT coalesce(surely_out, false)
"""
