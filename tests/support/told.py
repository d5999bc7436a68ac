"""The events that an engine has told so far."""

import json
import time
from collections.abc import Iterator

from tests.support.http import Http


def told(http: Http, cid: str) -> Iterator[tuple[str, dict[str, str]]]:
    """(action, attributes) of everything told of a container up to now."""
    asked = f"/events?since=0&until={time.time():.9f}&filters={json.dumps({'container': [cid]})}"
    for line in http("GET", asked.replace(" ", "").replace('"', "%22")).body.splitlines():
        event = json.loads(line)
        yield event["Action"], event["Actor"]["Attributes"]


def actions(http: Http, cid: str) -> list[str]:
    """The actions alone."""
    return [action for action, _ in told(http, cid)]
