"""The events that an engine has told so far."""

import json
import time
from collections.abc import Iterator
from typing import Any

from tests.support.http import Http


def told(http: Http, cid: str, since_s: float = 0) -> Iterator[tuple[str, dict[str, str]]]:
    """(action, attributes) of everything told of a container up to now."""
    for event in events(http, cid, since_s):
        yield event["Action"], event["Actor"]["Attributes"]


def events(http: Http, cid: str, since_s: float = 0) -> Iterator[Any]:
    """The same, whole."""
    asked = f"/events?since={since_s:.9f}&until={time.time():.9f}&filters={json.dumps({'container': [cid]})}"
    for line in http("GET", asked.replace(" ", "").replace('"', "%22")).body.splitlines():
        yield json.loads(line)


def actions(http: Http, cid: str, since_s: float = 0) -> list[str]:
    """The actions alone."""
    return [action for action, _ in told(http, cid, since_s)]
