"""What a process makes sure of when it first reaches ZooKeeper: that the document's nodes exist."""

from __future__ import annotations

import logging

from zkconfig import last_good
from zkconfig.coordination import ANY_VERSION, Coordination, Create, SetData
from zkconfig.documents import D, Kind
from zkconfig.errors import Conflict

log = logging.getLogger(__name__)


def ensure_document(coordination: Coordination, kind: Kind[D]) -> None:
    """Create the document where it is missing; never overwrite one.

    A new deployment gets the default. Where a document was in force before its node was deleted, that one is put back:
    a restart of one process must not change the weights of all.
    """
    coordination.ensure(kind.history_path)
    coordination.ensure(kind.last_good_path)
    if coordination.read(kind.path) is not None:
        return
    found = last_good.decode(kind, coordination.read(kind.last_good_path))
    document = kind.default if found is None else found[0]
    try:
        version = coordination.commit(
            [
                Create(kind.path, b""),
                SetData(kind.path, kind.render(document)),
                SetData(kind.last_good_path, last_good.encode(document, None), ANY_VERSION),
            ]
        )
    except Conflict:
        return
    log.info("%s was missing and is created as version %d", kind.path, version)
