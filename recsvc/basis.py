"""What one answer is made of: weights, settings, statistics, a model and a wish, all taken at one moment."""

from __future__ import annotations

from dataclasses import dataclass

from recsvc.models.feed import served
from recsvc.models.model import MOST_POPULAR
from recsvc.models.scorer import Scorer
from recsvc.ranking_table import RankingTable
from recsvc.statistics import Snapshot
from recsvc.wanted import Wish
from zkconfig.documents import Ranking
from zkconfig.watcher import WeightsInForce


@dataclass(frozen=True, slots=True)
class Basis:
    """Taken once, so that the whole answer is of one version of everything."""

    in_force: WeightsInForce
    settings: Ranking
    table: RankingTable
    trained: Scorer | None
    wish: Wish

    @property
    def scorer(self) -> Scorer | None:
        """The model, where it is what ranks best."""
        return served(self.trained)

    @property
    def popular_is_best(self) -> bool:
        """Whether nothing that is known of a user has done better than what everybody likes."""
        return self.trained is not None and self.trained.model.best == MOST_POPULAR

    @property
    def snapshot(self) -> Snapshot:
        """The statistics."""
        return self.table.snapshot

    @property
    def limit(self) -> int:
        """How many tags and products at most."""
        return self.wish.n or self.settings.default_n
