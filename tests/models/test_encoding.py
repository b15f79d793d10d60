"""A model as blobs: what was written is read, and nothing else."""

from __future__ import annotations

import hashlib
import json
import pickle
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from recsvc.errors import BrokenModel
from recsvc.models.encoding import HEADER, decode, encode
from recsvc.models.model import Model
from tests.models.making import made_up

MODEL = made_up()


def same(one: Model, other: Model) -> bool:
    """Whether two models are equal, arrays too."""
    arrays = ("neighbours", "similarities", "factors", "gram")
    rest = ("product_ids", "parameters", "trained_at", "training")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in arrays) and all(
        getattr(one, name) == getattr(other, name) for name in rest
    )


def test_round_trip() -> None:
    """All of it comes back, with the version that the store gives."""
    model = replace(MODEL, product_ids=("é \x00\ud7ff😀", *MODEL.product_ids[1:]))
    found = decode(encode(model), 7)
    assert same(found, model)
    assert found.version == 7


@pytest.mark.parametrize("name", list(encode(MODEL)))
def test_damaged_blobs_are_refused_by_name(name: str) -> None:
    """Missing, cut, with one bit changed, or of another model."""
    blobs = encode(MODEL)
    other = encode(replace(made_up(seed=1), trained_at="2026-01-06T00:00:00+00:00"))
    middle = len(blobs[name]) // 2
    flipped = bytearray(blobs[name])
    flipped[middle] ^= 1
    damaged = [blobs[name][:middle], b"", bytes(flipped), other[name]]
    for blob in damaged:
        with pytest.raises(BrokenModel):
            decode({**blobs, name: blob}, 1)
    with pytest.raises(BrokenModel, match=f"{name}: missing"):
        decode({key: blob for key, blob in blobs.items() if key != name}, 1)


def forged(name: str, blob: bytes) -> dict[str, bytes]:
    """Blobs with one that the header describes as it is."""
    blobs = encode(MODEL)
    header = json.loads(blobs[HEADER])
    draft = encode(MODEL) | {name: blob}
    header["blobs"][name] = {"bytes": len(blob), "digest": hashlib.blake2b(blob, digest_size=16).hexdigest()}
    return draft | {HEADER: json.dumps(header).encode()}


def npy(array: npt.NDArray[Any], *, allow_pickle: bool = False) -> bytes:
    """An array as a file."""
    sink = BytesIO()
    np.save(sink, array, allow_pickle=allow_pickle)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("name", "blob", "told"),
    [
        ("neighbours", npy(MODEL.neighbours.astype(np.int64)), "neighbours is int64"),
        ("neighbours", npy(MODEL.neighbours + np.int32(1_000)), "places from 0 to 59"),
        ("neighbours", npy(-MODEL.neighbours - np.int32(1)), "places from 0 to 59"),
        ("similarities", npy(MODEL.similarities[:-1]), "similarities is float32 of shape"),
        ("similarities", npy(MODEL.similarities * np.float32(np.nan)), "similarities holds what is not finite"),
        ("factors", npy(MODEL.factors[:, :-1]), "gram is float64 of shape"),
        ("factors", npy(np.array([object()], dtype=object), allow_pickle=True), "factors: no array"),
        ("gram", pickle.dumps([1]), "gram: no array"),
        ("products", b'["a", "a"]', "neighbours is int32 of shape"),
        ("products", json.dumps(["a"] * 60).encode(), "product_ids: at least one, each once"),
        ("products", json.dumps([1] * 60).encode(), "products: texts are allowed"),
        ("products", b"{}", "products: a JSON list is allowed"),
    ],
)
def test_what_belongs_to_no_model_is_refused(name: str, blob: bytes, told: str) -> None:
    """Wrong types, shapes and places, also where the header agrees with them; a pickle is never run."""
    with pytest.raises(BrokenModel, match=told):
        decode(forged(name, blob), 1)


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"format": 2}, "format 2: 1 is allowed"),
        ({"parameters": {"blend": 0.5}}, "a member is missing"),
        ({"parameters": {"blend": 1.5, "alpha": 1, "regularization": 1}}, "blend from 0 to 1"),
        ({"blobs": {}}, "a member is missing"),
    ],
)
def test_headers_of_others_are_refused(members: dict[str, object], told: str) -> None:
    """The header has to be of this format, and whole."""
    blobs = encode(MODEL)
    with pytest.raises(BrokenModel, match=told):
        decode({**blobs, HEADER: json.dumps({**json.loads(blobs[HEADER]), **members}).encode()}, 1)
