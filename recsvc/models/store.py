"""Trained models in Redis: each version whole under keys of its own, and one hash that says which is applied.

A version is written completely before the hash is switched, in one transaction that an older version can't win. Until
then its chunks expire by themselves, so that nothing stays of a publisher that died. The version before is kept, for
readers that are just loading it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any, Final, TypeVar, cast

import redis

from reccore import layout
from recsvc.errors import BrokenModel, NotPublished, StoreUnavailable
from recsvc.models.encoding import decode, encode
from recsvc.models.model import Model
from redisaccess.clients import client_of
from redisaccess.cluster import at_slot

T = TypeVar("T")

CHUNK_BYTES: Final = 64 * 1024 * 1024
_UNPUBLISHED_SECONDS: Final = 24 * 3600
_TIMEOUT_SECONDS: Final = 10.0


class ModelStore:
    """The models of one Redis database. Raises :class:`StoreUnavailable` for all that Redis does not do."""

    def __init__(self, url: str, *, chunk_bytes: int = CHUNK_BYTES) -> None:
        self._redis: Any = client_of(
            url, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=2.0, max_connections=2
        )
        self._chunk_bytes = chunk_bytes

    def close(self) -> None:
        """Disconnect."""
        self._redis.close()

    def publish(self, model: Model) -> Model:
        """Store a model as the one that is applied, and give it with its version.

        Raises:
            NotPublished: One that was begun later is applied already, or what was stored is gone again.
        """
        blobs = encode(model)
        version = int(_asked(lambda: self._redis.incr(layout.MODEL_VERSION)))
        chunks = {name: -(-len(blob) // self._chunk_bytes) for name, blob in blobs.items()}
        _asked(lambda: self._redis.hset(layout.MODEL_BLOBS, version, json.dumps(chunks)))
        for name, blob in blobs.items():
            for number in range(chunks[name]):
                part = blob[number * self._chunk_bytes : (number + 1) * self._chunk_bytes]
                self._store(layout.model_blob_key(version, name, number), part)
        try:
            before = self._switch(version, chunks, _described(model))
        except NotPublished:
            self._forget(version, chunks)
            raise
        for other, stored in self._stored().items():
            if other < version and other != before:
                self._forget(other, stored)
        return replace(model, version=version)

    def current(self) -> dict[str, str]:
        """Give the fields of ``model:current``, none before a model was published."""
        found = _asked(lambda: self._redis.hgetall(layout.MODEL_CURRENT))
        return {key.decode(errors="replace"): value.decode(errors="replace") for key, value in found.items()}

    def load(self, current: Mapping[str, str]) -> Model:
        """Read the model that :meth:`current` has named. Raises :class:`BrokenModel`."""
        version, chunks = _version(current.get("version")), _chunks(current.get("blobs"))
        blobs = {}
        for name, count in chunks.items():
            keys = [layout.model_blob_key(version, name, number) for number in range(count)]
            parts = [_asked(lambda key=key: self._redis.get(key)) for key in keys]  # type: ignore[misc]
            missing = [key for key, part in zip(keys, parts, strict=True) if part is None]
            if missing:
                raise BrokenModel(f"{missing[0]} is missing")
            blobs[name] = b"".join(parts)
        return decode(blobs, version)

    def _store(self, key: str, part: bytes) -> None:
        _asked(lambda: self._redis.set(key, part, ex=_UNPUBLISHED_SECONDS))

    def _switch(self, version: int, chunks: Mapping[str, int], described: Mapping[str, str]) -> int:
        """Make a version the one that is applied, and give the one before."""
        keys = _keys(version, chunks)
        # Kept before the switch, not with it: on a cluster the chunks are elsewhere. Whoever dies in between leaves
        # them listed under `model:blobs`, and the next publisher removes them.
        for key in keys:
            _asked(lambda key=key: self._redis.persist(key))  # type: ignore[misc]

        def attempt() -> int:
            with at_slot(self._redis, layout.MODEL_CURRENT) as server, server.pipeline() as pipeline:
                while True:
                    try:
                        pipeline.watch(layout.MODEL_CURRENT)
                        before = int(cast("bytes", pipeline.hget(layout.MODEL_CURRENT, "version")) or 0)
                        if before > version:
                            raise NotPublished(f"version {version} is not published: version {before} is newer")
                        if sum(self._redis.exists(key) for key in keys) < len(keys):
                            raise NotPublished(f"version {version} is not published: parts of it are gone from Redis")
                        pipeline.multi()
                        pipeline.delete(layout.MODEL_CURRENT)
                        fields = {"version": str(version), "blobs": json.dumps(chunks), **described}
                        pipeline.hset(layout.MODEL_CURRENT, mapping=fields)
                        pipeline.execute()
                    except redis.WatchError:
                        continue
                    return before

        return _asked(attempt)

    def _stored(self) -> dict[int, dict[str, int]]:
        """Give the chunks of each version that is stored or being stored."""
        found = _asked(lambda: self._redis.hgetall(layout.MODEL_BLOBS))
        return {int(version): _chunks(chunks.decode()) for version, chunks in found.items()}

    def _forget(self, version: int, chunks: Mapping[str, int]) -> None:
        for key in _keys(version, chunks):
            _asked(lambda key=key: self._redis.unlink(key))  # type: ignore[misc]
        _asked(lambda: self._redis.hdel(layout.MODEL_BLOBS, version))


def _described(model: Model) -> dict[str, str]:
    return {
        "trained_at": model.trained_at,
        "products": str(len(model.product_ids)),
        "parameters": json.dumps(asdict(model.parameters)),
        "training": json.dumps(model.training),
    }


def _keys(version: int, chunks: Mapping[str, int]) -> list[str]:
    return [layout.model_blob_key(version, name, number) for name, count in chunks.items() for number in range(count)]


def _version(text: str | None) -> int:
    if text is None or not text.isascii() or not text.isdigit():
        raise BrokenModel(f"{layout.MODEL_CURRENT}: version {text!r}: a whole number is allowed")
    return int(text)


def _chunks(text: str | None) -> dict[str, int]:
    try:
        found = json.loads(text or "")
        chunks = {str(name): int(count) for name, count in found.items()}
    except (ValueError, TypeError, AttributeError) as exc:
        raise BrokenModel(f"{layout.MODEL_CURRENT}: blobs {text!r}: name → number of chunks is allowed") from exc
    if not all(0 < count < 10_000 for count in chunks.values()):
        raise BrokenModel(f"{layout.MODEL_CURRENT}: blobs {text!r}: from 1 to 9,999 chunks each are allowed")
    return chunks


def _asked(action: Callable[[], T]) -> T:
    try:
        return action()
    except redis.RedisError as exc:
        raise StoreUnavailable(f"models in Redis: {exc}") from exc
