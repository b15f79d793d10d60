"""What can go wrong with an archive.

CommandError
├── ArchiveError        it can't be used as it is; the message says why
└── ArchiveChanged      another process has written, or removed it: what is known of it is out of date
OSError
└── StoreTrouble        the store did not do it now; the same may succeed later
"""

from __future__ import annotations

from reweigh.errors import CommandError


class ArchiveError(CommandError):
    """An archive that can't be used as it is."""


class ArchiveChanged(CommandError):
    """The archive is not what this process has last written or read; it has to be opened anew."""


class StoreTrouble(OSError):
    """The store refused or failed. Nothing is lost: whoever wrote tries again."""
