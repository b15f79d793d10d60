"""The page for operators in a real browser, on the whole system: what it shows is so, and nothing in it acts."""

from __future__ import annotations

import os
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from deploy.local import Stack
from faults.at_rest import compare_at_rest, put_weights
from faults.traffic import Traffic
from reccore import layout
from reccore.canary import Measured
from tests.ops.chromium import Page, opened

pytestmark = pytest.mark.timeout(1_200)

ACTS = b'{"user_id": "<script>window.stolen = 1</script><img src=x onerror=\'window.stolen = 1\'>", "product_id": '
WEIGHTS = {"view": 1, "add_to_cart": 3, "purchase": 5}


@pytest.fixture(scope="module")
def page(whole: Stack) -> Iterator[Page]:
    """The page in a tab; whatever it asked for came from the service, and nothing went wrong in it."""
    with opened() as tab:
        tab.show_as(1200, 900, "light")
        tab.do("Page.navigate", url=whole.env["API_URL"] + "/ops")
        tab.wait_for("document.readyState === 'complete' && typeof quantile === 'function'")
        yield tab
        assert [each for each in tab.asked if not each.startswith(whole.env["API_URL"] + "/ops")] == []
        assert len(tab.asked) > 5
        assert tab.said == []


@contextmanager
def asking(whole: Stack) -> Iterator[None]:
    """Requests as long as the context lasts, some of them refused."""
    over = threading.Event()

    def ask() -> None:
        turn = 0
        while not over.wait(0.02):
            turn += 1
            path = f"/recommend/user-{turn % 50}" if turn % 10 else "/profile/"
            try:
                urllib.request.urlopen(whole.env["API_URL"] + path, timeout=10).close()
            except urllib.error.HTTPError as error:
                error.close()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def shown(page: Page, name: str) -> str:
    """The text of an element."""
    return str(page.value(f"document.getElementById('{name}').innerText"))


def save(name: str, picture: bytes) -> None:
    """Keep a picture where they are wanted (OPS_PICTURES)."""
    assert picture.startswith(b"\x89PNG")
    if folder := os.environ.get("OPS_PICTURES"):
        (Path(folder) / f"{name}.png").write_bytes(picture)


def test_it_shows_what_is(whole: Stack, traffic: Traffic, client: redis.Redis, page: Page) -> None:
    """Rates under load, then at rest the totals, the lag, the job, weights and their history, and dead letters."""
    for purchase in (4, 5):
        put_weights(whole, traffic.ledger, {**WEIGHTS, "purchase": purchase})
    page.wait_for("document.getElementById('freshness').innerText === 'not measured'")
    measured = Measured("seen", 0.123, int(time.time() * 1000))
    client.hset(layout.CANARY_OUTCOME, mapping=dict(measured.as_fields()))
    page.wait_for("document.getElementById('freshness').innerText === '123 ms'")
    page.wait_for("/measured .* ago$/.test(document.getElementById('freshness-more').innerText)")
    with traffic.flowing(chunk=20), asking(whole):
        page.wait_for("parseFloat(document.getElementById('qps').innerText) > 1")
        page.wait_for("document.querySelectorAll('#part-requests tbody tr').length >= 2")
        page.wait_for("/(ms|s)$/.test(document.getElementById('p95').innerText)")
        page.wait_for("/[1-9]\\d* 4xx/.test(document.getElementById('errors-more').innerText)")
        page.wait_for("document.querySelector('#qps-line polyline').getAttribute('points').split(' ').length > 3")
        page.do(
            "Runtime.evaluate", expression=f"document.getElementById('key').value = '{whole.env['CONFIG_API_KEY']}'"
        )
        page.do("Runtime.evaluate", expression="document.getElementById('key-form').requestSubmit()")
        page.wait_for("document.querySelectorAll('#letters .letter').length > 0")
        for name, width, height in (("light", 1200, 1150), ("dark", 1200, 1150), ("narrow", 390, 1500)):
            page.show_as(width, height, "dark" if name == "dark" else "light")
            assert page.value("document.documentElement.scrollWidth") <= width
            if name == "dark":
                page.value("document.getElementById('part-history').scrollIntoView()")
            save(f"ops-{name}", page.picture())
            page.value("scrollTo(0, 0)")
        page.show_as(1200, 900, "light")
    client.delete(layout.CANARY_OUTCOME)
    compare_at_rest(whole, client, traffic.ledger)
    page.wait_for("document.getElementById('lag').innerText === '0'")
    page.wait_for("document.getElementById('job').innerText === 'running'")
    page.wait_for("document.getElementById('verdict').innerText === 'all is well'")
    dead = sum(traffic.ledger.dead.values())
    page.wait_for(
        f"document.getElementById('part-stream').innerText.replaceAll(',', '').includes('dead letters\\t{dead}')"
    )
    assert "not_json" in shown(page, "part-dead")
    history = page.value("[...document.querySelectorAll('#part-history tbody tr')].map((row) => row.innerText)")
    assert "key 1" in history[0]
    assert "purchase 5" in history[0]
    assert "purchase 4" in history[1]
    assert len(page.value("[...document.querySelectorAll('#part-members tbody tr')].map((row) => row.innerText)")) >= 4


def test_what_callers_sent_is_shown_and_does_nothing(traffic: Traffic, page: Page) -> None:
    """The markup in a dead letter is text, and the key is kept nowhere."""
    traffic.poison([(ACTS, "not_json")])
    page.wait_for("document.getElementById('letters').innerText.includes('<script>window.stolen')")
    assert page.value("document.querySelectorAll('#letters script, #letters img').length") == 0
    assert page.value("typeof window.stolen") == "undefined"
    assert page.value("document.cookie + JSON.stringify({...localStorage, ...sessionStorage})") == "{}"


def test_a_server_that_is_away_takes_only_its_part(whole: Stack, page: Page) -> None:
    """Redis and Kafka, one after the other: the page goes on, says so, and shows everything again afterwards."""
    for server, part in (("redis", "stream"), ("kafka", "lag")):
        whole.kill(server, signal.SIGSTOP)
        try:
            page.wait_for(f"document.querySelector('#part-{part} .away').hidden === false")
            page.wait_for("document.querySelector('#part-weights .away').hidden === true")
            page.wait_for("document.querySelector('#part-job .away').hidden === true")
        finally:
            whole.kill(server, signal.SIGCONT)
        page.wait_for(f"document.querySelector('#part-{part} .away').hidden === true")


def test_percentiles_are_those_of_prometheus(page: Page) -> None:
    """Linear within a bucket; beyond the last edge that edge; none without requests. A restart is not a rate."""
    assert page.value("quantile(0.5, [0.1, 0.2], [10, 20, 20])") == pytest.approx(0.1)
    assert page.value("quantile(0.95, [0.1, 0.2], [10, 20, 20])") == pytest.approx(0.19)
    assert page.value("quantile(0.95, [0.1, 0.2], [0, 0, 20])") == pytest.approx(0.2)
    assert page.value("quantile(0.95, [0.1, 0.2], [0, 0, 0])") is None
    route = "{routes: {a: {buckets: [%d], errors: 0, refused: 0}}}"
    assert page.value(f"between({route % 5}, {route % 7}).a.buckets") == [2]
    assert page.value(f"between({route % 7}, {route % 5})") is None
