"""A model as named blobs: arrays as ``.npy`` without pickle, product ids and everything else as JSON.

The header tells size and digest of every other blob, so blobs of two models are never taken for one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from io import BytesIO
from typing import Any, Final

import numpy as np

from recsvc.errors import BrokenModel
from recsvc.models.model import Model, Parameters

HEADER: Final = "header"
PRODUCTS: Final = "products"
_ARRAYS: Final = ("neighbours", "similarities", "factors", "gram")
_FORMAT: Final = 1


def encode(model: Model) -> dict[str, bytes]:
    """Give the blobs by name; the version is not among them, since the store gives it."""
    blobs = {PRODUCTS: json.dumps(model.product_ids, ensure_ascii=False).encode()}
    for name in _ARRAYS:
        sink = BytesIO()
        np.save(sink, getattr(model, name), allow_pickle=False)
        blobs[name] = sink.getvalue()
    header = {
        "format": _FORMAT,
        "trained_at": model.trained_at,
        "parameters": asdict(model.parameters),
        "training": model.training,
        "blobs": {name: {"bytes": len(blob), "digest": _digest(blob)} for name, blob in blobs.items()},
    }
    return {HEADER: json.dumps(header, ensure_ascii=False).encode(), **blobs}


def decode(blobs: Mapping[str, bytes], version: int) -> Model:
    """Read what :func:`encode` wrote. Raises :class:`BrokenModel`, which names the blob and what is wrong with it."""
    header = _json(HEADER, _blob(blobs, HEADER), dict)
    if header.get("format") != _FORMAT:
        raise BrokenModel(f"{HEADER}: format {header.get('format')!r}: {_FORMAT} is allowed")
    try:
        described = {name: (header["blobs"][name]["bytes"], header["blobs"][name]["digest"]) for name in _names()}
        parameters = Parameters(**{name: float(value) for name, value in header["parameters"].items()})
        trained_at, training = str(header["trained_at"]), dict(header["training"])
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise BrokenModel(f"{HEADER}: a member is missing or of the wrong kind: {exc}") from exc
    for name, wanted in described.items():
        blob = _blob(blobs, name)
        if (len(blob), _digest(blob)) != wanted:
            raise BrokenModel(f"{name}: {len(blob)} bytes that are not those which the header describes")
    product_ids = _json(PRODUCTS, blobs[PRODUCTS], list)
    if not all(isinstance(each, str) for each in product_ids):
        raise BrokenModel(f"{PRODUCTS}: texts are allowed")
    return Model(
        product_ids=tuple(product_ids),
        parameters=parameters,
        trained_at=trained_at,
        version=version,
        training=training,
        **{name: _array(name, blobs[name]) for name in _ARRAYS},
    )


def _names() -> tuple[str, ...]:
    return (PRODUCTS, *_ARRAYS)


def _digest(blob: bytes) -> str:
    return hashlib.blake2b(blob, digest_size=16).hexdigest()


def _blob(blobs: Mapping[str, bytes], name: str) -> bytes:
    if name not in blobs:
        raise BrokenModel(f"{name}: missing; there are {', '.join(sorted(blobs)) or 'none'}")
    return blobs[name]


def _json(name: str, blob: bytes, kind: type) -> Any:
    try:
        found = json.loads(blob)
    except (ValueError, RecursionError) as exc:
        raise BrokenModel(f"{name}: no JSON: {exc}") from exc
    if not isinstance(found, kind):
        raise BrokenModel(f"{name}: a JSON {kind.__name__} is allowed")
    return found


def _array(name: str, blob: bytes) -> Any:
    try:
        return np.load(BytesIO(blob), allow_pickle=False)
    except (ValueError, EOFError, OSError) as exc:
        raise BrokenModel(f"{name}: no array: {exc}") from exc
