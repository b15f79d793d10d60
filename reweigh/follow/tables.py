"""The tables that `reweigh follow` keeps."""

from __future__ import annotations

from collections.abc import Sequence

from reccore.followed_topics import FollowedTopics
from reweigh.follow.catalogue import Catalogue
from reweigh.follow.interests import InterestTable
from reweigh.follow.ratings import RatingTable
from reweigh.follow.recommendations import RecommendationTable
from reweigh.follow.table import Table


def tables_of(topics: FollowedTopics) -> Sequence[Table]:
    """Give a table for each topic."""
    return [
        Catalogue(topics.product_catalog),
        RatingTable(topics.ratings),
        InterestTable(topics.user_behavior),
        RecommendationTable(topics.recommendations),
    ]
