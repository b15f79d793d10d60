"""The jars of the servers: pinned in `jars.lock`, fetched by jgo, checked by their SHA-256.

`python -m deploy.local.jars` resolves `ROOTS` anew and rewrites the lock.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from deploy.local.errors import StackError
from deploy.local.home import cache_folder

LOCK = Path(__file__).with_name("jars.lock")
_LOGGING = ("org.apache.logging.log4j:log4j-core:2.25.3", "org.apache.logging.log4j:log4j-api:2.25.3")
ROOTS: dict[str, tuple[str, ...]] = {
    "kafka": ("org.apache.kafka:kafka_2.13:4.1.2", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.3", *_LOGGING),
    # metrics-core and snappy-java are "provided" in ZooKeeper's description, and its server does not start without.
    "zookeeper": (
        "org.apache.zookeeper:zookeeper:3.9.5",
        "io.dropwizard.metrics:metrics-core:4.1.12.1",
        "org.xerial.snappy:snappy-java:1.1.10.7",
        "org.apache.logging.log4j:log4j-slf4j2-impl:2.25.3",
        *_LOGGING,
    ),
    "flink-kafka": ("org.apache.flink:flink-sql-connector-kafka:5.0.0-2.2",),
}
# Resolved, but of no use to these servers: TLS for platforms that are not used, and test tools.
_NOT_NEEDED = ("netty-tcnative-boringssl-static", "mockito-core", "byte-buddy", "byte-buddy-agent", "objenesis")


@dataclass(frozen=True)
class Jar:
    """One jar: the set it belongs to, its coordinate `group:artifact:version[:classifier]`, its SHA-256 in hex."""

    set_name: str
    coordinate: str
    sha256: str

    @property
    def file_name(self) -> str:
        """Name of the file, as in a Maven repository."""
        _, artifact, version, *classifier = self.coordinate.split(":")
        return "-".join((artifact, version, *classifier)) + ".jar"


def read_lock(lock: Path = LOCK) -> tuple[Jar, ...]:
    """Return the pinned jars in the order of the class path."""
    lines = (line.split() for line in lock.read_text().splitlines() if line and not line.startswith("#"))
    return tuple(Jar(set_name, coordinate, sha256) for set_name, coordinate, sha256 in lines)


def jar_paths(set_name: str, cache: Path | None = None, lock: Path = LOCK) -> tuple[Path, ...]:
    """Return where the jars of one set are, whether fetched yet or not."""
    folder = cache or cache_folder()
    return tuple(_path(jar, folder) for jar in read_lock(lock) if jar.set_name == set_name)


def class_path(set_name: str) -> str:
    """Return the Java class path of one set."""
    return os.pathsep.join(map(str, jar_paths(set_name)))


def fetch_jars(tell: Callable[[str], None], cache: Path | None = None, lock: Path = LOCK) -> None:
    """Fetch what the cache lacks of what `lock` names, several at a time; `tell` is given a line about the progress.

    A jar appears in the cache under its final name only when it is whole and has the pinned digest, so several
    processes may share a cache.

    Raises:
        StackError: A jar can't be fetched or has another digest.
    """
    folder = cache or cache_folder()
    missing = {jar.sha256: jar for jar in read_lock(lock) if not _path(jar, folder).exists()}
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder) as scratch,
        ThreadPoolExecutor(max_workers=8) as pool,
    ):
        waiting = [pool.submit(_fetch, jar, folder, Path(scratch)) for jar in missing.values()]
        for number, done in enumerate(waiting, 1):
            name = done.result()
            if number % 10 == 0 or number == len(waiting):
                tell(f"fetched {number} of {len(waiting)} jars, {name}")


def _path(jar: Jar, folder: Path) -> Path:
    return folder / "jars" / jar.sha256[:12] / jar.file_name


def _fetch(jar: Jar, folder: Path, scratch: Path) -> str:
    target = _path(jar, folder)
    try:
        fetched = _download(jar.coordinate, scratch / jar.sha256[:12])
    except (OSError, RuntimeError) as error:  # requests' errors are OSErrors; jgo raises RuntimeError
        raise StackError(f"could not fetch {jar.coordinate}: {error}. Is the network there?") from error
    digest = _sha256(fetched)
    if digest != jar.sha256:
        raise StackError(
            f"{jar.coordinate} has SHA-256 {digest}, but {LOCK.name} pins {jar.sha256}; run `make up` again"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    fetched.replace(target)
    return jar.file_name


def _download(coordinate: str, repository: Path) -> Path:
    from jgo.maven import MavenContext

    group, artifact, version, *classifier = coordinate.split(":")
    context = MavenContext(repo_cache=repository, timeout=60)
    component = context.project(group, artifact).at_version(version)
    return Path(component.artifact(classifier[0] if classifier else "", "jar").resolve())


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _resolve(coordinates: tuple[str, ...], repository: Path) -> list[tuple[str, str]]:
    """Return (coordinate, SHA-256) of all jars needed at run time, the given ones first."""
    from jgo.maven import MavenContext

    context = MavenContext(repo_cache=repository, timeout=60)
    # "!": what one of them says of versions (Log4j names a Kafka client of its own) must not bind the others.
    given, further = context.resolver.resolve([context.create_dependency(f"{item}!") for item in coordinates])
    found: dict[str, str] = {}
    for dependency in (*given, *further):
        artifact = dependency.artifact
        if dependency.scope not in (None, "compile", "runtime") or artifact.artifactId in _NOT_NEEDED:
            continue
        parts = (artifact.groupId, artifact.artifactId, artifact.version, artifact.classifier)
        found[":".join(part for part in parts if part)] = _sha256(Path(artifact.resolve()))
    return list(found.items())


def write_lock(repository: Path, lock: Path = LOCK) -> None:
    """Resolve `ROOTS` with the help of `repository` as cache and write the lock."""
    lines = ["# set, group:artifact:version[:classifier], SHA-256. Written by `python -m deploy.local.jars`."]
    for set_name, coordinates in ROOTS.items():
        lines += [f"{set_name} {coordinate} {digest}" for coordinate, digest in _resolve(coordinates, repository)]
    lock.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    scratch_repository = Path(tempfile.mkdtemp(prefix="reweigh-jars-"))
    try:
        write_lock(scratch_repository)
    finally:
        shutil.rmtree(scratch_repository)
