"""Which bytes are a whole request: a thread is given nothing else."""

from __future__ import annotations

import pytest

from recsvc.whole_request import LARGEST_LOOK, awaits_continue, is_whole, never_refused, plain_length

HEAD = b"POST /update HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n"


def test_a_request_is_whole_with_its_last_byte() -> None:
    """No earlier, wherever it is cut; a request without a body ends with its head."""
    for request in (b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", HEAD + b"body", HEAD.lower() + b"body"):
        assert [is_whole(request[:size]) for size in range(len(request))] == [False] * len(request)
        assert is_whole(request)


@pytest.mark.parametrize(
    "arrived",
    [
        b"x" * 32_768,  # a head that no one takes
        b"POST /update HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",  # refused
        b"POST /update HTTP/1.1\r\nContent-Length: x\r\n\r\n",  # refused
        b"POST /update/batch HTTP/1.1\r\nContent-Length: 4000000\r\n\r\n" + b"x" * (LARGEST_LOOK // 2),
    ],
)
def test_some_are_not_waited_for(arrived: bytes) -> None:
    """What is refused anyway, and what is longer than is looked at."""
    assert is_whole(arrived)


def test_a_length_counts_in_the_head_only() -> None:
    """A body that looks like a head changes nothing."""
    assert is_whole(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n\r\nContent-Length: 400\r\n\r\n")


def test_continue_is_for_who_waits_for_it() -> None:
    """A client whose body has begun to arrive waits for nothing."""
    head = b"POST /update HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
    assert awaits_continue(head)
    assert not awaits_continue(head + b"b")
    assert not awaits_continue(HEAD)


def test_who_watches_is_never_refused() -> None:
    """Health and metrics are answered when nothing else is."""
    assert never_refused(b"GET /livez HTTP/1.1\r\n\r\n")
    assert not never_refused(b"GET /recommend/health HTTP/1.1\r\n\r\n")


def test_a_plain_request_ends_where_it_says() -> None:
    """What follows it is another one."""
    for request in (b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", HEAD + b"body"):
        assert [plain_length(request[:size]) for size in range(len(request))] == [None] * len(request)
        assert plain_length(request + b"GET /") == len(request)
    assert plain_length(b"GET / HTTP/1.1\r\nConnection: Keep-Alive\r\n\r\n") == 42


@pytest.mark.parametrize(
    "lines",
    [
        b"Connection: close\r\n",
        b"Connection: keep-alive, Upgrade\r\nUpgrade: h2c\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length : 0\r\n",
        b"Content-Length: +0\r\n",
        b"Content-Length: 0\r\nContent-Length: 4\r\n",
        b"X: y\nContent-Length: 0\r\n",
        b"X: y\n\nGET / HTTP/1.1\r\n",
    ],
)
def test_the_end_of_others_is_not_guessed(lines: bytes) -> None:
    """Nor does a connection go on that its client wants closed."""
    assert plain_length(b"POST /update HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n") is None
    assert plain_length(b"GET / HTTP/1.0\r\n\r\n") is None
