"""Item-to-item neighbours: the cosine of weighted counts, block by block, so that memory has a bound."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from reweigh.progress import Tell

MOST_PRODUCTS_A_PERSON: Final = 1_000
"""Of somebody with more only the heaviest count here: time grows with the square, and a robot says little of taste."""
_CELLS_A_BLOCK: Final = 16_000_000
"""Of a block of similarities, each 8 bytes where all of them are there."""


def nearest(matrix: Any, width: int, asymmetry: float, tell: Tell) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Give places and similarities of the ``width`` nearest products of each product, the most similar first.

    The similarity of j to i is x_i·x_j ÷ (|x_i|^2a × |x_j|^(2 − 2a)) for columns x of ``matrix`` (people × products,
    all above 0): the cosine with a = 1/2; with less, products that have to do with everything are further away
    (asymmetric cosine, Aiolli 2013). Rows of fewer are filled up with the product itself and 0.
    """
    products = matrix.shape[1]
    width = min(width, max(products - 1, 1))
    matrix = _without_excess(matrix)
    squares = np.asarray(matrix.multiply(matrix).sum(axis=0), dtype=np.float64).ravel()
    squares[squares == 0] = 1.0
    left = sparse.csr_matrix((matrix @ sparse.diags((squares**-asymmetry).astype(np.float32))).T)
    right = sparse.csr_matrix(matrix @ sparse.diags((squares ** (asymmetry - 1.0)).astype(np.float32)))
    places = np.repeat(np.arange(products, dtype=np.int32)[:, None], width, axis=1)
    similarities = np.zeros((products, width), dtype=np.float32)
    rows = max(1, _CELLS_A_BLOCK // products)
    for first in range(0, products, rows):
        block = left[first : first + rows] @ right
        for row in range(block.shape[0]):
            cells = slice(block.indptr[row], block.indptr[row + 1])
            others, values = _best(block.indices[cells], block.data[cells], first + row, width)
            places[first + row, : len(others)] = others
            similarities[first + row, : len(others)] = values
        tell("neighbours of products", min(first + rows, products), products)
    return places, similarities


def _best(others: Any, values: Any, own: int, width: int) -> tuple[Any, Any]:
    kept = others != own
    others, values = others[kept], values[kept]
    if len(values) > width:
        threshold = np.partition(values, len(values) - width)[len(values) - width]
        kept = values >= threshold
        others, values = others[kept], values[kept]
    order = np.lexsort((others, -values))[:width]
    return others[order], values[order]


def _without_excess(matrix: Any) -> Any:
    sizes = np.diff(matrix.indptr)
    crowded = np.flatnonzero(sizes > MOST_PRODUCTS_A_PERSON)
    if not len(crowded):
        return matrix
    matrix = matrix.copy()
    for row in crowded.tolist():
        values = matrix.data[matrix.indptr[row] : matrix.indptr[row + 1]]
        values[np.argsort(-values, kind="stable")[MOST_PRODUCTS_A_PERSON:]] = 0
    matrix.eliminate_zeros()
    return matrix
