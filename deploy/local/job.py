"""The profile job on the local cluster: its command line, submitting it, replacing it."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from deploy.local import flink, jars
from deploy.local.checkpoints import Restore, choose_checkpoint, complete_checkpoints
from deploy.local.cluster_jobs import cancel, list_jobs, stop_running
from deploy.local.errors import StackError
from deploy.local.flink_distribution import flink_home
from deploy.local.home import CHECKOUT, STACK_ID_VARIABLE, Home
from deploy.local.settings import Settings
from deploy.local.submission import Submission, read_submission, shaped_since_ns, state_shape, write_submission
from deploy.local.supervision import Program, start_held
from deploy.local.topics import deleted_beginnings

PACKAGES = ("reccore", "redisaccess", "zkconfig", "flink_jobs")
SUBMIT_SECONDS = 300
_OPTIONS = {
    "EXTRA_EVENT_TYPES": "--extra-event-types",
    "TAG_EXPIRY_SECONDS": "--tag-expiry-seconds",
    "MOST_TAGS_PER_USER": "--most-tags-per-user",
    "MOST_PRODUCTS_PER_USER": "--most-products-per-user",
    "METADATA_NUMBERS": "--metadata-numbers",
    "RECENT_EVENTS": "--recent-events",
    "DEDUPLICATION_WINDOW_SECONDS": "--deduplication-window-seconds",
    "VIEW_TOPIC": "--view-topic",
    "ADD_TO_CART_TOPIC": "--add-to-cart-topic",
    "PURCHASE_TOPIC": "--purchase-topic",
    "DEAD_LETTER_TOPIC": "--dead-letter-topic",
}


def build_archive(home: Home, checkout: Path = CHECKOUT) -> Path:
    """Pack the packages of the job into a zip with them at its root, as `-pyfs` wants it, and return its path."""
    archive = home.path / "job" / "reweigh-job.zip"
    archive.parent.mkdir(parents=True, exist_ok=True)
    draft = archive.with_suffix(f".{os.getpid()}.draft")
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as packed:
        for package in PACKAGES:
            for file in sorted((checkout / package).rglob("*")):
                if file.is_file() and "__pycache__" not in file.parts:
                    packed.write(file, file.relative_to(checkout))
    draft.replace(archive)
    return archive


def job_command(
    stack_env: Mapping[str, str], settings: Settings, archive: Path, restore: Restore | None
) -> tuple[str, ...]:
    """Return the command line that submits the job.

    Args:
        stack_env: What `stack.env` holds.
        settings: Parallelism, checkpoint interval and what is handed on to the job.
        archive: The zip of `build_archive`.
        restore: From where the job goes on; None starts with the first record of the topics.
    """
    from_state: tuple[str, ...] = ()
    if restore is not None:
        mode = "NO_CLAIM" if restore.is_savepoint else "CLAIM"  # a claimed one is deleted when it is out of date
        from_state = ("-s", restore.path.as_uri(), "-claimMode", mode)
    return (
        str(flink_home() / "bin" / "flink"), "run", "-d", *from_state,
        "-m", urlsplit(stack_env["FLINK_REST"]).netloc,
        "--jarfile", str(jars.jar_paths("flink-kafka")[0]),
        "-pyexec", sys.executable,
        "-pyclientexec", sys.executable,
        "-pyfs", str(archive),
        "-py", str(CHECKOUT / "flink_jobs" / "profile_job.py"),
        *job_options(stack_env, settings),
    )  # fmt: skip


def job_options(stack_env: Mapping[str, str], settings: Settings) -> tuple[str, ...]:
    """Return the job's own options, which follow the script."""
    handed_on = (
        text
        for key, option in _OPTIONS.items()
        if key in settings.handed_on
        for text in (option, settings.handed_on[key])
    )
    return (
        "--kafka-bootstrap", stack_env["KAFKA_BOOTSTRAP"],
        "--zookeeper-hosts", stack_env["ZOOKEEPER_HOSTS"],
        "--redis-url", stack_env["REDIS_URL"],
        "--checkpoint-interval-ms", str(settings.sizes.checkpoint_interval_ms),
        "--parallelism", str(settings.sizes.parallelism),
        *handed_on,
    )  # fmt: skip


def is_outdated(home: Home, stack_env: Mapping[str, str], settings: Settings) -> bool:
    """Whether a job that exists was submitted with other settings than these."""
    last = read_submission(home)
    return last is not None and last.options != job_options(stack_env, settings)


def restore_from(home: Home, settings: Settings) -> Restore | None:
    """Return from where a job with these settings goes on, None for the first record of the topics."""
    return _restore(home, shaped_since_ns(read_submission(home), state_shape(settings)), attempt=0)


def _restore(home: Home, since_ns: int, attempt: int) -> Restore | None:
    found = complete_checkpoints(flink.checkpoints_folder(home), flink.savepoints_folder(home))
    return choose_checkpoint(found, since_ns, attempt)


def submit(
    home: Home,
    stack_env: Mapping[str, str],
    settings: Settings,
    log: Path,
    attempt: int = 0,
    restore: Restore | None = None,
    *,
    anew: bool = False,
) -> str:
    """Submit the job from its newest checkpoint, or from `restore`, unless it exists, and say what was done.

    Two callers never submit at the same time. The client's output is added to `log`. `attempt` counts the failures in a
    row before: after some, an older checkpoint is tried. `anew` lets a job without state count what Kafka has left.

    Raises:
        StackError: `restore` is of a job whose state this one can't read, there is none and Kafka has no longer the
            first records, or the client failed or took longer than `SUBMIT_SECONDS`.
    """
    with _one_at_a_time(home):
        jobs = list_jobs(stack_env["FLINK_REST"])
        if jobs is None or any(job.exists for job in jobs):
            return "not submitted: " + ("the JobManager does not answer" if jobs is None else "the job exists")
        shape = state_shape(settings)
        since_ns = shaped_since_ns(read_submission(home), shape)
        if restore is not None and restore.completed_ns < since_ns:
            raise StackError(
                f"{restore.path} is the state of a job with other event types, or of another version, which this job "
                "can't read: `reweigh replay` counts the log anew"
            )
        restore = restore or _restore(home, since_ns, attempt)
        if restore is None and not anew:
            refuse_partial_counts(stack_env, settings)
        write_submission(home, Submission(job_options(stack_env, settings), shape, since_ns))
        _remove_leftovers(flink.client_folder(home))
        command = job_command(stack_env, settings, build_archive(home), restore)
        began = time.monotonic()
        run_client(home, command, log)
        origin = f"from {restore.path}" if restore else "from the beginning of the topics"
        return f"submitted in {time.monotonic() - began:.1f} s, {origin}"


def refuse_partial_counts(stack_env: Mapping[str, str], settings: Settings) -> None:
    """See that a job without state would count everything, as far as Kafka answers.

    Raises:
        StackError: It would replace full counts by those of the records that are left.
    """
    gone = deleted_beginnings(stack_env["KAFKA_BOOTSTRAP"], settings.topics)
    if gone:
        raise StackError(
            f"there is no state that the job can go on from, and Kafka has deleted the first records of {gone}: "
            "`reweigh replay --from archive` counts these too, `reweigh job submit --anew` only what is left"
        )


def submit_beside(
    home: Home, stack_env: Mapping[str, str], settings: Settings, further_options: Sequence[str], log: Path
) -> None:
    """Submit another job beside the one that is kept, from the first record of the topics.

    Args:
        home: The stack.
        stack_env: What `stack.env` holds, with the Redis database that this job is to write to.
        settings: As for the job that is kept.
        further_options: Options of the job that come after those of `job_options`, and so replace them.
        log: The client's output is added to it.

    Raises:
        StackError: The client failed or took longer than `SUBMIT_SECONDS`.
    """
    with _one_at_a_time(home):
        run_client(home, (*job_command(stack_env, settings, build_archive(home), None), *further_options), log)


def take_over(home: Home, stack_env: Mapping[str, str], settings: Settings, savepoint: Path) -> Path:
    """Make `savepoint` the only state from which the kept job may go on, and return where it lies then."""
    moved = flink.savepoints_folder(home) / savepoint.name
    since_ns = (savepoint / "_metadata").stat().st_mtime_ns
    write_submission(home, Submission(job_options(stack_env, settings), state_shape(settings), since_ns))
    savepoint.rename(moved)
    return moved


def stop_with_savepoint(home: Home, rest: str, patience_seconds: float = 60) -> Path | None:
    """Stop the job on purpose with a savepoint, whose folder is returned; None when there was no job.

    Nobody starts the job again until `home.job_stopped` is removed.

    Raises:
        StackError: The savepoint was not completed.
    """
    home.job_stopped.touch()
    try:
        return stop_running(rest, patience_seconds)
    except BaseException:
        # It may well be running: then it is to be kept running.
        home.job_stopped.unlink(missing_ok=True)
        raise


def is_stopped_on_purpose(home: Home) -> bool:
    """Whether nobody is to start the job. A command that stops it for a while only leaves its process id there."""
    try:
        owner = home.job_stopped.read_text().strip()
    except FileNotFoundError:
        return False
    if owner.isdecimal() and not Path(f"/proc/{owner}").exists() and Path("/proc/self").exists():
        home.job_stopped.unlink(missing_ok=True)  # it was killed
        return False
    return True


def retire(home: Home, stack_env: Mapping[str, str], settings: Settings) -> str:
    """End a job that was submitted with other settings, and say how; the job keeper then submits it with these.

    With a savepoint where the new one can go on from it, and where the old one still manages to write it.

    Raises:
        StackError: The new one could neither go on from its state nor count everything, or the JobManager refused.
    """
    rest = stack_env["FLINK_REST"]
    last = read_submission(home)
    if last is not None and last.shape == state_shape(settings):
        try:
            return f"stopped with the savepoint {stop_running(rest, 60)}"
        except StackError as error:
            why = str(error)
    else:
        refuse_partial_counts(stack_env, settings)
        why = "its state has another shape: the topics are read from their first record"
    cancel(rest)
    return f"cancelled, {why}"


@contextmanager
def _one_at_a_time(home: Home) -> Iterator[None]:
    home.flink.mkdir(parents=True, exist_ok=True)
    with (home.flink / "submit.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove_leftovers(folder: Path) -> None:
    """Remove what earlier runs of the client have left; whoever runs it by hand just now keeps theirs."""
    for left in folder.iterdir():
        if time.time() - left.stat().st_mtime > SUBMIT_SECONDS:
            shutil.rmtree(left, ignore_errors=True)


def run_client(home: Home, command: tuple[str, ...], log: Path) -> None:
    """Run `flink run` so that it can't outlive its caller: an orphan might submit a second job.

    Args:
        home: The stack.
        command: As of `job_command`.
        log: The client's output is added to it.

    Raises:
        StackError: The client failed or took longer than `SUBMIT_SECONDS`.
    """
    # The client logs its whole environment, and whoever ran `make up` may have had the key in theirs.
    environment = {**flink.environment(home), STACK_ID_VARIABLE: home.stack_id, "CONFIG_API_KEY": ""}
    process = start_held(Program(name="flink-run", argv=command, env=environment), log)
    try:
        status = process.wait(SUBMIT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise StackError(f"`flink run` took longer than {SUBMIT_SECONDS} s and was ended") from error
    finally:
        process.kill()
        process.wait()
    if status != 0:
        raise StackError(f"`flink run` failed with status {status}")
