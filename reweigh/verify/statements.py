"""The SQL of the recount, from the events that were read to the rows that are to be aggregated."""

from __future__ import annotations

from typing import Final

REPEATED: Final = """
CREATE OR REPLACE TABLE repeated AS
    SELECT identity, max(arrived) - min(arrived) AS spread FROM events GROUP BY identity HAVING count(*) > 1
"""

# Of records with one identity the first one read counts. Within a partition that is the one of the lowest offset;
# between partitions it is left to arrival, which matters only where what they say differs.
JUDGED: Final = """
CREATE OR REPLACE TABLE judged AS
    WITH said AS (
        SELECT events.*, spread > {window} AS beyond_window, spot >= upto AS late,
            md5_number(concat_ws(':', length(user_id), user_id, length(product_id), product_id, type, time_ms,
                                 coalesce(tags::VARCHAR, '-'){numbers})) AS content
        FROM events JOIN repeated USING (identity) JOIN applied_upto USING (place)
    ), first_of_partition AS (
        SELECT *, row_number() OVER (PARTITION BY identity, place ORDER BY spot) = 1 AS candidate FROM said
    ), compared AS (
        SELECT *, count(DISTINCT content) FILTER (candidate) OVER (PARTITION BY identity) > 1 AS contested,
            bool_and(late) OVER (PARTITION BY identity) AS all_late,
            row_number() OVER (PARTITION BY identity, content ORDER BY candidate DESC, late, place, spot)
                AS turn_of_content,
            row_number() OVER (PARTITION BY identity ORDER BY late, candidate DESC, place, spot) AS turn
        FROM first_of_partition
    )
    SELECT *, CASE
        WHEN beyond_window THEN true
        WHEN contested THEN candidate AND turn_of_content = 1
        ELSE turn = 1 END AS may_count,
        all_late OR contested OR (beyond_window AND (turn > 1)) AS unsure
    FROM compared
"""

COUNTED: Final = """
CREATE OR REPLACE TABLE counted AS
    WITH once AS (
        SELECT place, spot, arrived, user_id, product_id, type, time_ms, tags, spot >= upto AS unsure,
            spot >= upto AS late{numbers}
        FROM (FROM events ANTI JOIN repeated USING (identity)) JOIN applied_upto USING (place)
        UNION ALL
        SELECT place, spot, arrived, user_id, product_id, type, time_ms, tags, unsure, late{numbers} FROM judged
        WHERE may_count
    )
    SELECT once.* EXCLUDE (tags), coalesce(once.tags, catalogue.tags, []) AS tags,
        once.tags IS NULL AND catalogue.product_id IS NOT NULL AND coalesce(arrived <= since, true) AS any_tags
    FROM once LEFT JOIN catalogue ON once.tags IS NULL AND once.product_id = catalogue.product_id
"""

BY_TAG: Final = "SELECT * EXCLUDE (tags), unnest(tags) AS tag FROM counted"
BY_ITEM: Final = "SELECT * EXCLUDE (tags) REPLACE (false AS any_tags), product_id AS tag FROM counted"

# The job forgets by its own clock, so a tag with a pause as long as the expiry, up to now too, may have been forgotten.
FORGETTING: Final = """
    SELECT * REPLACE (unsure OR bool_or(paused) OVER (PARTITION BY user_id, tag) AS unsure) FROM (
        SELECT *, coalesce(lead(arrived) OVER (PARTITION BY user_id, tag ORDER BY arrived), epoch_ms(now())) - arrived
            >= {expiry} AS paused
        FROM ({rows}))
"""

TOTALS: Final = """
CREATE OR REPLACE TABLE wanted_totals AS
    WITH read AS (
        SELECT place, spot FROM events UNION ALL SELECT place, spot FROM dead
    )
    SELECT 'read:' || topic AS name, count(*) AS count, count(*) FILTER (spot >= upto) AS unsure
        FROM read JOIN places USING (place) JOIN applied_upto USING (place) GROUP BY topic
    UNION ALL SELECT 'dead:' || reason, count(*), count(*) FILTER (spot >= upto)
        FROM dead JOIN applied_upto USING (place) GROUP BY reason
    UNION ALL SELECT 'applied:' || type_names[type + 1], count(*), count(*) FILTER (unsure)
        FROM counted, (SELECT {types} AS type_names) GROUP BY ALL
    UNION ALL SELECT 'untagged', count(*), count(*) FILTER (unsure OR any_tags)
        FROM counted WHERE len(tags) = 0 OR any_tags HAVING count(*) > 0
"""

# Which of several contents was counted is left to arrival, but not that one was: so events are counted by identity too.
IN_ALL: Final = """
CREATE OR REPLACE TABLE wanted_in_all AS
    WITH once_each AS (
        SELECT spot < upto AS sure, 1 AS most
        FROM (FROM events ANTI JOIN repeated USING (identity)) JOIN applied_upto USING (place)
        UNION ALL
        SELECT NOT all_late, count(*) FILTER (beyond_window OR turn = 1) FROM judged GROUP BY identity, all_late
    )
    SELECT count(*) AS events, count(*) FILTER (sure) AS least, coalesce(sum(most), 0) AS most FROM once_each
"""
