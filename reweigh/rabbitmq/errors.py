"""What can go wrong between here and RabbitMQ.

ReweighError (reccore)
├── CommandError (reweigh)
│   └── RabbitRefused       RabbitMQ answers that it won't: the user, the virtual host, the rights
└── RabbitUnavailable       RabbitMQ does not answer, or has not confirmed; trying again may help
    └── NotConfirmed        some events of a sender were not confirmed in time
"""

from __future__ import annotations

from typing import Final

from pika.adapters.utils.connection_workflow import AMQPConnectorException
from pika.exceptions import (
    AMQPError,
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from reccore.errors import ReweighError
from reweigh.errors import CommandError

TROUBLE: Final = (AMQPError, AMQPConnectorException, OSError)
"""All that pika raises when a connection can't be made or is lost."""

_REFUSALS: Final = ("ACCESS_REFUSED", "NOT_ALLOWED", "vhost")


class RabbitUnavailable(ReweighError):
    """RabbitMQ is away."""


class NotConfirmed(RabbitUnavailable):
    """Events that RabbitMQ has not confirmed; they may be there all the same, and sent again they count once."""


class RabbitRefused(CommandError):
    """RabbitMQ is there and refuses."""


def translated(exc: BaseException, where: str) -> RabbitUnavailable | RabbitRefused:
    """Give the error of this package for one of pika's; ``where`` names the server, never with the password."""
    exc = _innermost(exc)
    if isinstance(exc, ChannelClosedByBroker | ConnectionClosedByBroker):
        text = f"{exc.reply_code} {exc.reply_text}"
        if exc.reply_code in (403, 530):
            return RabbitRefused(f"RabbitMQ at {where} refuses: {text}")
        return RabbitUnavailable(f"RabbitMQ at {where} closed the connection: {text}")
    # A server that dies while it is asked who we are looks much like one that refuses, but for its answer.
    told = isinstance(exc, ProbableAuthenticationError | ProbableAccessDeniedError) and str(exc)
    if told and any(each in told for each in _REFUSALS):
        return RabbitRefused(f"RabbitMQ at {where} refuses user, password or virtual host ({_cut(told)})")
    return RabbitUnavailable(f"RabbitMQ at {where} is away ({_cut(str(exc)) or type(exc).__name__})")


def _innermost(exc: BaseException) -> BaseException:
    """Give what pika has wrapped: the failure of an attempt, of a phase of it, of the system call."""
    tried = getattr(exc, "exceptions", None) or [getattr(exc, "exception", None), *exc.args[:1]]
    inner = next((each for each in reversed(tried) if isinstance(each, BaseException)), None)
    return exc if inner is None else _innermost(inner)


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 160 else line[:160] + "…"
