"""Recorded requests, sent to both engines as they live: the older answers only give the requests.

The file is named by the variable that tests/replay reads; LIGHTERMAN_REPLAY chooses labels or paths (a
regular expression). Requests for what is not served yet (501) and streams without an end are left out.
"""

import json
import os
import re
from typing import Any

import pytest
from tests.differential.deliberate import DELIBERATE, RECORDED
from tests.differential.pair import Pair, Step, compared
from tests.replay.recorded import Exchange, Ids, recorded
from tests.support.engines import Daemon
from tests.support.http import Answer, Http

CHOSEN = re.compile(os.environ.get("LIGHTERMAN_REPLAY", r"^/(containers|exec|images|volumes|networks)/"))
ENDLESS = re.compile(r"/attach|/exec/\w+/start|follow=|/stats|/events|/build|/push|/session|/swarm")
JSON = {"Content-Type": "application/json"}


def chosen() -> list[Exchange]:
    """The exchanges that can be sent to an engine of this kind."""
    return [
        one
        for one in recorded()
        if one.can_be_sent and CHOSEN.search(one.path) and not ENDLESS.search(one.path)
    ]


def sent(engine: Daemon, exchange: Exchange, ids: Ids) -> Answer | None:
    """The engine's answer; None when it keeps it open."""
    body = exchange.request_body
    http = Http(engine.socket, timeout_s=10)
    try:
        answer = http(
            exchange.method,
            ids.translate(exchange.path),
            ids.translate(body.decode()).encode() if body is not None else None,
            JSON if body is not None else {},
        )
    except TimeoutError:
        return None
    ids.learn(loose(exchange.body), loose(answer.body.decode("latin-1")))
    return answer


def loose(body: str) -> Any:
    """A body as JSON, or nothing."""
    try:
        return json.loads(body)
    except ValueError:
        return None


@pytest.mark.skipif(not recorded(), reason="no recorded answers are named")
def test_both_engines_answer_recorded_requests_the_same(pair: Pair) -> None:
    pair.fresh()
    ids = {engine.name: Ids() for engine in (pair.ours, pair.reference)}
    unexplained = []
    for exchange in chosen():
        if len({known.known(exchange.path) for known in ids.values()}) > 1:
            continue  # one of the two has refused to make it
        wanted = sent(pair.reference, exchange, ids["ref"])
        came = sent(pair.ours, exchange, ids["ours"])
        if wanted is None or came is None or came.status == 501:
            continue
        step = Step(exchange.method, exchange.path, unordered=exchange.path == "/networks")
        scenario = f"recorded {exchange.method} {exchange.path} {json.dumps(exchange.request)}"
        for line in compared(wanted, came, step):
            if not any(one.covers(scenario, line) for one in (*DELIBERATE, *RECORDED)):
                unexplained.append(f"{scenario}: {line}")
    assert not unexplained, f"{len(unexplained)} differences\n" + "\n".join(unexplained)
