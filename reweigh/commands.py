"""What each command does: builds the clients, calls the module that does the work, prints, gives the exit code."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from reccore.errors import SettingError
from reccore.event_types import EventTypes
from reccore.timestamps import parse_timestamp
from reccore.weights import Weights, parse_weights
from reweigh.errors import CommandError, need
from reweigh.settings import Settings, read_settings

CACHE_SETTING: Final = "REWEIGH_CACHE"
_DEFAULT_WEIGHTS: Final = ("1,3,5", "1,1,1", "0,0,1")


def cache_folder() -> Path:
    """Where downloads are kept: ``REWEIGH_CACHE``, or ``.local/cache`` in the current folder."""
    return Path(os.environ.get(CACHE_SETTING) or Path(".local") / "cache")


def demo(options: argparse.Namespace) -> int:
    """`reweigh demo`."""
    local = need("deploy.local", "stack")
    running = need("reweigh.demo", "data")
    running.heading("The local stack")
    stack = local.Stack(tell=lambda line: print(line, flush=True))
    try:
        stack.up()
    except local.StackError as exc:
        raise CommandError(str(exc)) from exc
    home = stack.home.path
    settings = read_settings(stack.home.stack_env)
    running.Demo(settings, home / "data" / "movielens", cache_folder()).run(options.person or running.PERSON)
    return 0


def data_movielens(options: argparse.Namespace) -> int:
    """`reweigh data movielens`."""
    movielens = need("reweigh.movielens", "data")
    cache = options.cache or cache_folder()
    events, products = movielens.write_movielens(options.out, cache, with_tags=options.with_tags)
    print(f"{movielens.EVENTS:,} events of {movielens.PEOPLE} people in {events}")
    print(f"{movielens.PRODUCTS:,} products in {products}")
    return 0


def data_shop(options: argparse.Namespace) -> int:
    """`reweigh data shop`."""
    shops = need("reweigh.shop", "data")
    began = time.monotonic()
    shop = shops.make_shop(options.users, options.products, options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    _write(options.out / "products.jsonl", shops.product_lines(shop), options.products)
    _write(options.out / "preferences.jsonl", shops.preference_lines(shop), options.users)
    lines = shops.event_lines(shop, options.events, with_tags=options.with_tags)
    _write(options.out / "events.jsonl", lines, options.events)
    seconds = time.monotonic() - began
    print(f"{options.events:,} events, {options.products:,} products in {options.out} ({seconds:.1f} s)")
    return 0


def _write(file: Path, lines: Iterable[str], total: int) -> None:
    progress = need("tqdm", "data")
    with file.open("w", encoding="utf-8", newline="\n") as out:
        slow = 0.1 if sys.stderr.isatty() else 5.0
        out.writelines(
            progress.tqdm(lines, desc=file.name, total=total, unit=" lines", unit_scale=True, mininterval=slow)
        )


def load(options: argparse.Namespace) -> int:
    """`reweigh load`: exit code 1 when lines were rejected."""
    loading = need("reweigh.loading", "data")
    settings = read_settings(options.env)
    file: Path = options.file
    if file.is_dir():
        retailrocket, catalog = need("reweigh.retailrocket", "data"), need("reweigh.catalog", "data")
        folder = retailrocket.find(file)
        with _redis(settings.required("REDIS_URL")) as client, loading.counting_bar(folder.size, "items", "B") as bar:
            stored, _ = catalog.store_products(retailrocket.products(folder, bar), client)
        print(f"{stored:,} products stored")
        file = folder.events
    report = loading.load_events(
        file,
        options.bootstrap or settings.required("KAFKA_BOOTSTRAP"),
        settings.event_types,
        fmt=options.format,
        validate=not options.no_validate,
        namespace=options.namespace,
        rejected_file=options.rejected,
        access=settings.kafka_access,
    )
    print("\n".join(report.lines()))
    return 1 if report.rejected else 0


def _redis(url: str) -> Any:
    return need("redisaccess.clients", "data").client_of(url, socket_timeout=10.0, socket_connect_timeout=10.0)


def evaluate(options: argparse.Namespace) -> int:
    """`reweigh eval`."""
    dataset, evaluation = need("reweigh.dataset", "data"), need("reweigh.evaluation", "train")
    event_types = EventTypes.from_settings(os.environ)
    weights = [(text, given_weights(text, event_types)) for text in options.weights or _DEFAULT_WEIGHTS]
    relevant = _types(options.relevant, event_types) if options.relevant else None
    event_files, product_files = dataset.data_files(options.data)
    data = dataset.read_dataset(event_files, product_files, event_types)
    held_out, split = _split(dataset, data, options.at, options.everybody)
    with need("reweigh.progress", "data").Bars() as bars:
        comparisons = [
            evaluation.compare(
                data,
                held_out,
                each,
                label=label,
                tell=bars.tell,
                n=options.n,
                relevant_types=relevant,
                most_people=options.most_people,
                left_out=options.leave_out,
            )
            for label, each in weights
        ]
    if options.output == "json":
        print(json.dumps({"split": split, "comparisons": [each.as_dict() for each in comparisons]}, indent=1))
    else:
        print(
            f"{len(data.users):,} events, {len(data.user_ids):,} people, {len(data.product_ids):,} products; {split}\n"
        )
        print(evaluation.table(comparisons))
    return 0


def given_weights(text: str, event_types: EventTypes) -> Weights:
    """Read the weights of an argument, in the order of the event types. Raises :class:`ReweighError`."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError as exc:
        raise SettingError("--weights", text, "numbers separated by commas, e.g. 1,3,5") from exc
    if len(numbers) > len(event_types.names):
        raise SettingError("--weights", text, f"one number each for {', '.join(event_types.names)}")
    return parse_weights(dict(zip(event_types.names, numbers, strict=False)), event_types)


def _types(text: str, event_types: EventTypes) -> list[int]:
    found = [event_types.canonical(name.strip()) for name in text.split(",")]
    if None in found:
        raise SettingError("--relevant", text, f"some of {', '.join(event_types.names)}")
    return [event_types.names.index(name) for name in found if name]


def _split(dataset: Any, data: Any, at: str, everybody: bool) -> tuple[Any, str]:
    number = _number(at)
    if number is not None and 0 < number < 1:
        if not everybody:
            return dataset.hold_out_newest(data, number), f"known: the oldest {number:.0%} of each person's events"
        time_ms = dataset.time_at(data, number)
        return dataset.hold_out_after(data, time_ms), f"known: the oldest {number:.0%} of all events"
    try:
        time_ms = parse_timestamp(at if number is None else number)
    except ValueError as exc:
        raise SettingError("--at", at, "a fraction between 0 and 1, or a time") from exc
    return dataset.hold_out_after(data, time_ms), f"known: what was before {at}"


def _number(text: str) -> int | float | None:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return None


def doctor(options: argparse.Namespace) -> int:
    """`reweigh doctor`: exit code 1 when a check fails."""
    examining = need("reweigh.doctor", "data")
    settings: Settings = read_settings(options.env)
    healthy = True
    for finding in examining.examine(settings):
        print(finding.line(), flush=True)
        healthy &= finding.healthy
    return 0 if healthy else 1


def verify(options: argparse.Namespace) -> int:
    """`reweigh verify`: exit code 1 when something differs."""
    verifying, report = need("reweigh.verify.command", "verify"), need("reweigh.verify.report", "verify")
    archive = None
    if options.log == "archive":
        archive = need("reweigh.archive.settings", "archive").read_archive_settings(options.env)
    outcome = verifying.verify(
        read_settings(options.env), options.group, options.window_seconds, archive, options.namespace
    )
    if options.output == "json":
        print(json.dumps(report.as_dict(outcome), indent=1))
    else:
        print("\n".join(report.lines(outcome)))
    return 0 if report.is_right(outcome) else 1


def job(options: argparse.Namespace) -> int:
    """`reweigh job …`."""
    local = need("deploy.local", "stack")
    control = need("reweigh.job", "stack").JobControl(_stack(local, options.home))
    if options.action == "status":
        print("\n".join(control.status()))
    elif options.action == "submit":
        print(control.submit(anew=options.anew))
    elif options.action == "resume":
        print(control.resume(options.path))
    elif options.action == "rescale":
        print(control.rescale(options.parallelism))
    else:
        print({"stop": control.stop, "command": control.command}[options.action]())
    return 0


def replay(options: argparse.Namespace) -> int:
    """`reweigh replay`: exit code 1 when it was to check and what is live differs."""
    local, replaying, progress = (
        need("deploy.local", "stack"),
        need("reweigh.replay", "data"),
        need("reweigh.progress", "data"),
    )
    from_archive = options.since == "archive"
    archive = need("reweigh.archive.settings", "archive")
    stack = _stack(local, options.home)
    if options.drop:
        replaying.drop(stack, options.namespace)
        return 0
    wish = need("reweigh.wish", "data").Wish(
        check=options.check,
        database=options.database,
        namespace=options.namespace,
        keep=options.keep,
        from_ms=0 if from_archive else _since(options.since),
        archive=archive.read_archive_settings(stack.home.stack_env).url if from_archive else None,
    )
    for number in (signal.SIGTERM, signal.SIGHUP):  # ends by way of what puts everything back
        signal.signal(number, lambda ending, _frame: sys.exit(128 + ending))
    with progress.Bars() as bars:
        done = replaying.Replay(stack, wish, bars.tell, bars.say).run()
    if done.was_rebuilt_before:
        print("live: what the earlier replay had counted anew")
        return 0
    print(
        f"{done.records:,} records counted anew in {done.seconds:.1f} s, with the start of the second job; "
        f"{done.rate:,.0f} a second once it ran"
    )
    if wish.check:
        meanwhile = f" ({done.left_out:,} records arrived meanwhile; what they concern was left out)"
        print(f"{len(done.differences):,} keys differ{meanwhile if done.left_out else ''}")
        print("".join(f"  {key}\n" for key in done.differences[:20]), end="")
        return 1 if done.differences else 0
    if not wish.keep:
        print(f"live; for {done.waiting_seconds:.1f} s new events waited for the exchange")
    return 0


def _stack(local: Any, home: Path | None) -> Any:
    stack = local.Stack(home)
    if not stack.home.stack_env.exists():
        raise CommandError(f"no local stack was started in {stack.home.path}: `make up` starts one")
    return local.Stack(home, stack.started_parts() or stack.parts)


def _since(text: str) -> int:
    """Read ``ts=TIME`` or ``last=N`` with s, m, h or d as epoch milliseconds; 0 for an empty text."""
    if not text:
        return 0
    kind, _, value = text.partition("=")
    units = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
    try:
        if kind == "last" and value[-1:] in units and (length := float(value[:-1])) > 0:
            return max(0, int((time.time() - length * units[value[-1]]) * 1000))
        if kind == "ts":
            number = _number(value)
            return parse_timestamp(value if number is None else number)
    except (ValueError, OverflowError):  # of a length that is infinite, or in milliseconds
        pass
    raise SettingError(
        "--from", text, "archive, ts=TIME (ISO 8601 or epoch) or last=N with s, m, h or d, e.g. last=24h"
    )


def stack(options: argparse.Namespace) -> int:
    """`reweigh stack up|down|status`."""
    return int(need("deploy.local.__main__", "stack").main([options.action]))
