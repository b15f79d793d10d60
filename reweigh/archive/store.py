"""Where the files of an archive lie: a local folder, or whatever fsspec reaches.

Every exception of a store is an ``OSError``; ``FileNotFoundError`` and ``FileExistsError`` mean what they say.
"""

from __future__ import annotations

import fcntl
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final, TypeVar

import fsspec

from reweigh.archive.errors import ArchiveError, StoreTrouble

T = TypeVar("T")
_DRAFT: Final = ".draft"


class Store(ABC):
    """A tree of files by relative path. What is written appears whole or not at all."""

    url: str
    has_locks = False
    """Whether :meth:`alone` keeps other processes out."""

    @abstractmethod
    def write(self, path: str, data: bytes) -> None:
        """Write a file, over one that is there."""

    @abstractmethod
    def create(self, path: str, data: bytes) -> None:
        """Write a file that is not there yet. Raises ``FileExistsError`` when it is."""

    @abstractmethod
    def read(self, path: str) -> bytes:
        """Give a file's bytes."""

    @abstractmethod
    def open(self, path: str) -> IO[bytes]:
        """Open a file for reading, at any place of it."""

    @abstractmethod
    def move(self, path: str, to: str) -> None:
        """Give a file another name."""

    @abstractmethod
    def remove(self, path: str) -> None:
        """Remove a file; one that is not there is no error."""

    @abstractmethod
    def sync(self, folders: Iterable[str]) -> None:
        """Make moves and writes in these folders outlive a loss of power."""

    @abstractmethod
    def exists(self, path: str) -> bool:
        """Whether there is a file, or a folder with something in it."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """Give the names of what lies in a folder; none where there is no folder."""

    @contextmanager
    def alone(self, name: str, *, wait: bool) -> Iterator[None]:  # noqa: ARG002 (here there is nothing to lock)
        """Hold a lock of this archive against other processes on this machine; elsewhere there is none.

        Raises :class:`ArchiveError` when another holds it and ``wait`` is false.
        """
        yield


class LocalStore(Store):
    """A folder of this machine. Files are written beside their place, synced, and renamed; names by :meth:`sync`."""

    has_locks = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self.url = str(self._folder)

    def write(self, path: str, data: bytes) -> None:
        """Write, sync, rename."""
        target = self._folder / path
        draft = self._draft(target, data)
        draft.replace(target)

    def create(self, path: str, data: bytes) -> None:
        """Write, sync, and link: a link is made or not, also when two try at once."""
        target = self._folder / path
        draft = self._draft(target, data)
        try:
            os.link(draft, target)
        finally:
            draft.unlink(missing_ok=True)

    def read(self, path: str) -> bytes:
        """Read it."""
        return (self._folder / path).read_bytes()

    def open(self, path: str) -> IO[bytes]:
        """Open it."""
        return (self._folder / path).open("rb")

    def move(self, path: str, to: str) -> None:
        """Rename it, which is one step."""
        target = self._folder / to
        target.parent.mkdir(parents=True, exist_ok=True)
        (self._folder / path).replace(target)

    def remove(self, path: str) -> None:
        """Unlink it."""
        (self._folder / path).unlink(missing_ok=True)

    def sync(self, folders: Iterable[str]) -> None:
        """Sync each of them."""
        for folder in folders:
            _sync(self._folder / folder)

    def exists(self, path: str) -> bool:
        """Ask for it."""
        return (self._folder / path).exists()

    def names(self, folder: str) -> list[str]:
        """List it."""
        try:
            return [each.name for each in (self._folder / folder).iterdir()]
        except FileNotFoundError:
            return []

    @contextmanager
    def alone(self, name: str, *, wait: bool) -> Iterator[None]:
        """Hold a file's lock, which ends with the process, however that ends."""
        file = self._folder / "_log" / f"{name}.lock"
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = os.open(
            file, os.O_RDONLY | os.O_CREAT, 0o644
        )  # not for writing, or nobody could make the disk read-only
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError as exc:
                raise ArchiveError(f"another process holds {file}: it is already at work on {self.url}") from exc
            yield
        finally:
            os.close(lock)

    def _draft(self, target: Path, data: bytes) -> Path:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f"{target.name}{_DRAFT}")
        try:
            with draft.open("wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
        except OSError:
            with suppress(OSError):
                draft.unlink(missing_ok=True)
            raise
        return draft


class RemoteStore(Store):
    """Whatever fsspec reaches: S3, HDFS, memory. One put makes a file; whatever it raises becomes an ``OSError``."""

    def __init__(self, url: str) -> None:
        try:
            self._files, root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as exc:
            raise ArchiveError(f"{url} can't be reached: {exc}") from exc
        self._files.use_listings_cache = False
        self._root = str(root).rstrip("/")
        self.url = url

    def write(self, path: str, data: bytes) -> None:
        """Put it."""
        self._ask(lambda: self._pipe(path, data))

    def create(self, path: str, data: bytes) -> None:
        """Put it on condition that it is not there, where the store knows such a condition; else look first."""
        if self.exists(path):
            raise FileExistsError(path)
        try:
            self._ask(lambda: self._pipe(path, data, mode="create"))
        except TypeError:  # a file system whose put knows no modes
            self._ask(lambda: self._pipe(path, data))

    def read(self, path: str) -> bytes:
        """Get it."""
        return bytes(self._ask(lambda: self._files.cat_file(self._at(path))))

    def open(self, path: str) -> IO[bytes]:
        """Open it; ranges are fetched as they are read."""
        opened: IO[bytes] = self._ask(lambda: self._files.open(self._at(path), "rb"))
        return opened

    def move(self, path: str, to: str) -> None:
        """Rename it; an object store copies and then removes, so that the new name is whole from its first moment."""

        def move() -> None:
            self._files.makedirs(self._at(to).rpartition("/")[0], exist_ok=True)
            self._files.mv(self._at(path), self._at(to))

        self._ask(move)

    def remove(self, path: str) -> None:
        """Delete it."""
        with suppress(FileNotFoundError):
            self._ask(lambda: self._files.rm_file(self._at(path)))

    def sync(self, folders: Iterable[str]) -> None:
        """Nothing: what such a store has taken, it keeps."""

    def exists(self, path: str) -> bool:
        """Ask for it."""
        return bool(self._ask(lambda: self._files.exists(self._at(path))))

    def names(self, folder: str) -> list[str]:
        """List it."""
        try:
            found = self._ask(lambda: self._files.ls(self._at(folder), detail=False))
        except FileNotFoundError:
            return []
        return [str(each).rstrip("/").rpartition("/")[2] for each in found]

    def _pipe(self, path: str, data: bytes, **options: Any) -> None:
        self._files.makedirs(self._at(path).rpartition("/")[0], exist_ok=True)
        self._files.pipe_file(self._at(path), data, **options)

    def _at(self, path: str) -> str:
        return f"{self._root}/{path}".rstrip("/")

    def _ask(self, action: Callable[[], T]) -> T:
        self._files.invalidate_cache()
        try:
            return action()
        except (OSError, TypeError):
            raise
        except Exception as exc:  # every library behind fsspec has exceptions of its own
            raise StoreTrouble(f"{self.url}: {type(exc).__name__}: {exc}") from exc


def open_store(url: str) -> Store:
    """Give the store of a path or URL: ``file://`` and plain paths are local, the rest is fsspec's."""
    protocol, _ = fsspec.core.split_protocol(url)
    if protocol in (None, "file", "local"):
        return LocalStore(Path(str(fsspec.core.strip_protocol(url))))
    return RemoteStore(url)


def _sync(folder: Path) -> None:
    """Make a change of names in a folder outlive a loss of power."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
