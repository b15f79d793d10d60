"""Many commands as one transaction over one connection.

Packed in C, which costs the job half of what redis-py's pipeline does, and Redis half of what a script does
(docs/performance.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, cast

import hiredis
import redis

Command: TypeAlias = tuple[str, ...]


def ask(connection: Any, commands: Sequence[Command]) -> list[Any]:
    """Send commands in one packet over a redis-py connection and give their answers.

    Raises:
        redis.exceptions.ResponseError: Redis refused one of them; all answers were read.
        redis.exceptions.ConnectionError, redis.exceptions.TimeoutError: The connection is of no use any more.
    """
    return _checked(_exchange(connection, [_packed(each) for each in commands]))


def execute(connection: Any, commands: Sequence[Command]) -> list[Any] | None:
    """Carry out all commands at once and give their answers, or None when a watched key has changed, and then none.

    Raises:
        redis.exceptions.ResponseError: Redis refused one of them. One that it refused to queue stops all of them; one
            that failed on its turn (a key of another type) doesn't stop the others.
        redis.exceptions.ConnectionError, redis.exceptions.TimeoutError: Nobody knows whether they were carried out.
    """
    packed = [_packed(each) for each in (("MULTI",), *commands, ("EXEC",))]
    *queued, results = _exchange(connection, packed)
    _checked(queued)
    _checked([results])
    return None if results is None else _checked(results)


def as_mapping(answer: Any) -> Mapping[str, str]:
    """Give a hash as a mapping, whichever protocol it was answered in."""
    return answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))


def _packed(command: Command) -> bytes:
    return cast("bytes", hiredis.pack_command(command))  # type: ignore[arg-type]  # its stub means "of any length"


def _exchange(connection: Any, packed: Sequence[bytes]) -> list[Any]:
    connection.send_packed_command([b"".join(packed)], check_health=False)
    answers: list[Any] = []
    for _ in packed:
        try:
            answers.append(connection.read_response())
        except redis.exceptions.ResponseError as exc:
            answers.append(exc)
    return answers


def _checked(answers: list[Any]) -> list[Any]:
    for each in answers:
        if isinstance(each, redis.exceptions.RedisError):
            raise each
    return answers
