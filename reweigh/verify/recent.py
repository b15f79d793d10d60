"""Each user's newest events, as one text a user: a line for the event, a line for its time, the oldest first.

Of an event that came several times the first read is stored. Which one that was is known within a partition; where it
came on several, or may not have been counted, the user's text is left open, as long as it is made of records of theirs.
"""

from __future__ import annotations

from typing import Final


def recent_events(most: int) -> str:
    """Give the statement that makes ``wanted_recent`` of ``counted`` and ``judged``, ``most`` events a user."""
    return _STATEMENT.format(most=most)


_STATEMENT: Final = """
CREATE OR REPLACE TABLE wanted_recent AS
    WITH several AS (
        SELECT DISTINCT user_id FROM judged WHERE unsure OR beyond_window OR late
            OR identity IN (SELECT identity FROM judged GROUP BY identity HAVING count(DISTINCT place) > 1)
    ), texts AS (
        SELECT user_id, time_ms, concat(places.type, ':', partition, ':', spot, ':', product_id) AS text, unsure
        FROM counted JOIN places USING (place)
    ), newest AS (
        SELECT * FROM texts WHERE {most} > 0
        QUALIFY row_number() OVER (PARTITION BY user_id ORDER BY time_ms DESC, text DESC) <= {most}
    )
    SELECT user_id, string_agg(text || chr(10) || time_ms, chr(10) ORDER BY time_ms, text) AS events,
        bool_or(unsure) OR any_value(several.user_id) IS NOT NULL AS open
    FROM newest LEFT JOIN several USING (user_id) GROUP BY user_id
"""

DIFFERENT: Final = """
WITH odd AS (
    SELECT user_id, open, wanted.events AS wanted, stored.events AS stored
    FROM wanted_recent AS wanted FULL JOIN stored_recent AS stored USING (user_id)
    WHERE wanted.events IS DISTINCT FROM stored.events
), apart AS (
    SELECT user_id, open, stored, string_split(coalesce(wanted, ''), chr(10)) AS w,
        string_split(coalesce(stored, ''), chr(10)) AS s
    FROM odd
), known AS (
    SELECT user_id, list(concat(places.type, ':', partition, ':', spot, ':', product_id)) AS texts,
        list(time_ms::VARCHAR) AS times
    FROM events JOIN places USING (place) WHERE user_id IN (SELECT user_id FROM odd WHERE open) GROUP BY user_id
)
SELECT 'recent events' AS what, user_id AS key, '' AS field,
    left(array_to_string(list_filter(w, lambda line: NOT list_contains(s, line)), ' '), 200) AS wanted,
    left(array_to_string(list_filter(s, lambda line: NOT list_contains(w, line)), ' '), 200) AS stored,
    coalesce(open AND stored IS NOT NULL AND list_has_all(list_concat(texts, times), s), false) AS allowed
FROM apart LEFT JOIN known USING (user_id)
"""
"""What is not as it must be, as :mod:`reweigh.verify.compare` gives it: of each text the lines that the other lacks."""
