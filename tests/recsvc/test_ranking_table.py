"""The ranking over arrays is the ranking of the rules, to the last bit."""

from __future__ import annotations

import sys

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from reccore import ranking
from reccore.ranking import Product
from reccore.scoring import score
from reccore.weights import Weights
from recsvc.ranking_table import RankingTable
from recsvc.statistics import Collected

TAGS = [f"t{i}" for i in range(6)]
counts = st.tuples(*[st.integers(0, 10**6)] * 3)
weight = st.one_of(
    st.integers(0, 9), st.floats(0, 1e6), st.sampled_from([0.1, 1e-7, 1e300, 5e-324, sys.float_info.max])
)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Weights, Collected, dict[str, tuple[int, ...]], frozenset[str], int, int]:
    """Weights, statistics, a user's counts, what the user bought, how many are wanted, and looked at first."""
    weights = Weights(("view", "add_to_cart", "purchase"), (draw(weight), draw(weight), draw(weight)))
    collected = Collected(3)
    for number in range(draw(st.integers(0, 12))):
        tags = draw(st.lists(st.sampled_from(TAGS), unique=True, max_size=4))
        collected.put_product(f"p{number}", [draw(counts), number, tags])
    for tag in draw(st.lists(st.sampled_from(TAGS), unique=True)):
        collected.put_tag(tag, [draw(counts), 0])
    user = draw(st.dictionaries(st.sampled_from([*TAGS, "own"]), counts, max_size=5))
    bought = draw(st.frozensets(st.sampled_from([f"p{i}" for i in range(12)]), max_size=4))
    return weights, collected, user, bought, draw(st.integers(1, 15)), draw(st.integers(1, 12))


@settings(max_examples=150, phases=[Phase.explicit, Phase.reuse, Phase.generate], deadline=None)
@given(cases())
def test_fast_equals_reference(
    case: tuple[Weights, Collected, dict[str, tuple[int, ...]], frozenset[str], int, int],
) -> None:
    """Same products, order, scores and factors as reccore.ranking gives, popular ones included."""
    weights, collected, user, bought, n, first = case
    values = weights.values
    snapshot = collected.snapshot()
    table = RankingTable(snapshot, weights, first=first)
    products = [Product(key, tags, score(row, values)) for key, (row, _, tags) in collected.products.items()]
    everybody = {tag: score(row, values) for tag, row in collected.tags.items()}
    sums = [sum(column) for column in zip(*collected.tags.values(), strict=True)] or [0, 0, 0]
    scores = {tag: score(row, values) for tag, row in user.items()}
    taste = ranking.taste(scores, everybody, ranking.typical_weight(sums, values))
    assert table.taste(scores) == taste
    assert table.rank(taste, left_out=bought, n=n) == ranking.rank_products(products, taste, left_out=bought, n=n)
    assert table.popular(left_out=bought, n=n) == ranking.rank_popular(products, left_out=bought, n=n)


def test_the_catalogues_tags_stand_before_the_learned_ones() -> None:
    """A product of the catalogue has the catalogue's tags; one that it doesn't know has those of its events."""
    collected = Collected(3)
    collected.put_product("known", [(1, 0, 0), 5, ["learned"]])
    collected.put_product("unknown", [(1, 0, 0), 6, ["learned"]])
    collected.put_catalog({"known": {"name": "Known", "tags": ["given"]}, "silent": {"name": "Never seen", "tags": []}})
    snapshot = collected.snapshot()
    names = {each: described.name for each, described in snapshot.described.items()}
    assert names == {"known": "Known", "silent": "Never seen"}
    assert snapshot.structure.ids == ("known", "unknown")
    assert snapshot.structure.tag_names == ("given", "learned")
    collected.put_product("known", [(2, 0, 0), 7, ["other"]])
    again = collected.snapshot()
    assert again.structure is snapshot.structure
    assert again.counts[:, 0].tolist() == [2, 1]
    assert snapshot.counts[:, 0].tolist() == [1, 1]
