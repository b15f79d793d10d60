"""The service as the command line calls it."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from reweigh.errors import CommandError


class Service:
    """The HTTP service at ``url``; ``api_key`` is sent with changes. Every call raises :class:`CommandError`."""

    def __init__(self, url: str, api_key: str = "", *, timeout_seconds: float = 10.0) -> None:
        self.url = url
        self._api_key = api_key
        self._timeout = timeout_seconds

    def recommend(self, user_id: str, n: int, after: str = "") -> dict[str, Any]:
        """``GET /recommend/<user_id>``; ``after`` is the place of an event that the answer is to tell of at once."""
        wish = f"&after={quote(after, safe='')}&wait_ms=0" if after else ""
        return self._call("GET", f"/recommend/{quote(user_id, safe='')}?n={n}{wish}")

    def send_event(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """``POST /update``: where the event stands in Kafka."""
        return self._call("POST", "/update", dict(event))

    def weights(self) -> dict[str, Any]:
        """``GET /api/config/weights``: the weights in force and their version."""
        return self._call("GET", "/api/config/weights")

    def put_weights(self, weights: Mapping[str, float]) -> dict[str, Any]:
        """``PUT /api/config/weights``."""
        return self._call("PUT", "/api/config/weights", dict(weights))

    def _call(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if self._api_key and method != "GET":
            headers["Authorization"] = f"Bearer {self._api_key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)  # noqa: S310 - settings allow http only
        try:
            with urllib.request.urlopen(request, timeout=self._timeout) as response:  # noqa: S310
                answer: dict[str, Any] = json.load(response)
                return answer
        except urllib.error.HTTPError as exc:
            with exc:
                raise CommandError(f"{method} {path}: {exc.code} {exc.read(500).decode('utf-8', 'replace')}") from exc
        except (OSError, ValueError) as exc:
            raise CommandError(f"{method} {self.url}{path} does not answer: {exc}") from exc
