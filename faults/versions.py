"""Z5 and Z6: racing changes of the weights, and weights that change under load."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from faults.at_rest import put_weights
from faults.coordination import draw_weights, zookeeper
from faults.ledger import TOPICS, score
from faults.readers import Answered, Readers
from faults.run import Run

HISTORY = "/config/recommendation/history/weights"


def racing_changes(run: Run) -> str:
    """Z5: two PUTs with the same ETag, again and again: one of them wins, and the history holds the winners."""
    rounds = run.choose(100, 20)
    version = put_weights(run.stack, run.traffic.ledger, draw_weights(run))
    winners: list[dict[str, float]] = []
    with run.traffic.flowing(chunk=50), ThreadPoolExecutor(2) as pool:
        for turn in range(rounds):
            racers = [{"view": turn + 1, "add_to_cart": racer, "purchase": 5} for racer in (1, 2)]
            answers = list(pool.map(lambda weights, etag=version: _put(run, weights, etag), racers))
            won = [(weights, found) for weights, (status, found) in zip(racers, answers, strict=True) if status == 200]
            statuses = sorted(status for status, _ in answers)
            run.must(f"round {turn}: {statuses}", statuses == [200, 412])
            if len(won) == 1:
                winners.append({**dict.fromkeys(TOPICS, 0), **won[0][0]})
                version = int(won[0][1]["version"])
    run.traffic.ledger.book_weights(winners[-1], version)
    with zookeeper(run) as client:
        names = sorted(client.get_children(HISTORY))[-len(winners) :]
        history = [json.loads(client.get(f"{HISTORY}/{name}")[0])["document"] for name in names]
    kept = [{**dict.fromkeys(TOPICS, 0), **document} for document in history]
    run.must("the history does not hold exactly the winners", kept == winners)
    run.note("rounds", rounds)
    return f"{rounds} rounds of two racing PUTs"


def _put(run: Run, weights: dict[str, float], version: int) -> tuple[int, Any]:
    request = urllib.request.Request(
        run.stack.env["API_URL"] + "/api/config/weights",
        json.dumps(weights).encode(),
        {
            "Content-Type": "application/json",
            "X-API-Key": run.stack.env["CONFIG_API_KEY"],
            "If-Match": f'"{version}"',
        },
        method="PUT",
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as found:
            return found.status, json.load(found)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


def changed_under_load(run: Run) -> str:
    """Z6: weights change ten times under load; every answer is exact for the version that it names."""
    changes = run.choose(10, 6)
    run.traffic.send(500)
    run.compare()
    ledger = run.traffic.ledger
    # Users that get no events meanwhile: what they must get follows from the version alone.
    still = {user: {tag: row.columns() for tag, row in ledger.kept(user).items()} for user in list(ledger.users)[:40]}
    documents = {ledger.version or run.weights_in_force(): dict(ledger.weights)}
    run.traffic.begin(f"{run.row}-load")
    run.traffic.user_prefix = f"load-{run.row}"
    try:
        with run.traffic.flowing(chunk=300, pause_seconds=0.05, users=1_000), _profiles(run, list(still)) as asking:
            for _ in range(changes):
                run.waits(0.3, 1.0)
                version = put_weights(run.stack, ledger, draw_weights(run))
                documents[version] = dict(ledger.weights)
            run.progress()
    finally:
        run.traffic.user_prefix = "user"
    _judge_answers(run, asking.answered, still, documents)
    return f"weights changed {changes} times under load"


def _profiles(run: Run, users: list[str]) -> Readers:
    return Readers(run.stack.env["API_URL"], users, False, 4, run.seed, path="profile")


def _judge_answers(
    run: Run, answers: list[Answered], still: dict[str, dict[str, list[int]]], documents: dict[int, dict[str, float]]
) -> None:
    wrong = unknown = 0
    # One that says that it is degraded comes from memory, Redis having taken too long, and so perhaps of older counts.
    fresh = [each for each in answers if not each.body.get("degraded")]
    for each in fresh:
        weights = documents.get(each.body.get("weights_version", -1))
        if weights is None:
            unknown += 1
            continue
        wanted = {tag: score(counts, list(weights.values())) for tag, counts in still[each.user].items()}
        wrong += each.body["tags"] != wanted
    run.note("answers compared", len(fresh))
    run.note("degraded answers", len(answers) - len(fresh))
    run.must("most answers are degraded", 2 * len(fresh) > len(answers))
    run.must(f"{wrong} answers are not counts · the version that they name", wrong == 0)
    run.must(f"{unknown} answers name a version that nobody set, or are none", unknown == 0)
    run.must("nobody asked", len(answers) > 0)
