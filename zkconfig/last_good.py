"""The last valid document, kept beside the node that anybody may set.

Somebody who starts while that node is missing or holds nonsense reads here what is in force, and under which version.
The publisher writes it in the same transaction as the document; a watcher that accepts a document of another client
does so afterwards.
"""

from __future__ import annotations

import json

from reccore.errors import WeightsError
from zkconfig.coordination import Node
from zkconfig.documents import D, Document, Kind


def encode(document: Document, version: int | None) -> bytes:
    """Give the node's data; a ``version`` of None means that of the transaction that writes it."""
    return json.dumps({"version": version, "document": document.as_dict()}).encode()


def decode(kind: Kind[D], node: Node | None) -> tuple[D, int] | None:
    """Read document and version; None when nothing usable is there."""
    if node is None or not node.data:
        return None
    try:
        value = json.loads(node.data)
        document, version = kind.parse(value["document"]), value["version"]
    except (WeightsError, ValueError, TypeError, KeyError, AttributeError):
        return None
    if version is None:
        return document, node.modified
    return (document, version) if isinstance(version, int) and version <= node.modified else None
