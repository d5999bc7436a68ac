"""The same build on both engines, and what differs: the answer, the configuration, the history, the files."""

import json
import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from tests.differential.dockerfiles import Case
from tests.differential.pair import Pair
from tests.differential.trees import Tree, tree
from tests.support.engines import Daemon
from tests.support.http import Answer
from tests.support.images import busybox_layer, digest

_ID = re.compile(r"\b(?:sha256:)?[0-9a-f]{12,64}\b")
_DIGEST = re.compile(r"(?:dir|file|multi):[0-9a-f]{64}")
_CONTAINER = re.compile(r"( ---> Running in |Removing intermediate container )[0-9a-f]{12}\n")
"""dockerd makes a container for each step, we only for programs."""


class Built(Struct, frozen=True):
    """What came of one build."""

    status: int
    said: list[str]
    """Lines, without ids and containers."""
    error: str
    image: dict[str, Any]
    history: list[tuple[str, str]]
    files: Tree


def build(engine: Daemon, case: Case) -> Built:
    """Build, look at the image, and remove it."""
    answer = _answer(engine, case)
    if answer.status != 200:
        return Built(answer.status, [], answer.json["message"], {}, [], {})
    lines, error, image_id = _told(answer)
    if error or not image_id:
        return Built(200, lines, error, {}, [], {})
    built = _built(engine, image_id, lines)
    engine.http("DELETE", f"/images/{image_id}?force=1")
    return built


def _answer(engine: Daemon, case: Case) -> Answer:
    if "remote" in case.query:  # of a body that it does not read dockerd 20.10 loses its answer
        return engine.http("POST", case.path())
    return engine.http("POST", case.path(), case.archive(), {"Content-Type": "application/x-tar"})


def _told(answer: Answer) -> tuple[list[str], str, str]:
    """Lines and the error, both without ids, and the id of the image."""
    messages = [json.loads(line) for line in answer.body.splitlines()]
    said = "".join(message.get("stream", "") for message in messages)
    error = "".join(message.get("error", "") for message in messages)
    ids = [message["aux"]["ID"] for message in messages if "aux" in message]
    lines = [_ID.sub("ID", line) for line in _CONTAINER.sub("", said).splitlines() if line.strip()]
    return lines, _ID.sub("ID", error), ids[-1] if ids else ""


def _built(engine: Daemon, image_id: str, lines: list[str]) -> Built:
    image = engine.http.ok("GET", f"/images/{image_id}/json")
    history = engine.http.ok("GET", f"/images/{image_id}/history")
    layers = image["RootFS"].get("Layers") or []
    # dockerd cannot save an image without layers; and one that has those of busybox alone has its files
    has_files = layers not in ([], [digest(busybox_layer())])
    files = tree(engine.http("GET", f"/images/{image_id}/get").body) if has_files else {}
    facts = {name: image[name] for name in ("Author", "Architecture", "Os")}
    facts["Config"] = image["Config"] | {"Image": _ID.sub("ID", image["Config"]["Image"])}
    facts["Command"] = image["ContainerConfig"][
        "Cmd"
    ]  # the rest of it is that of a container that we do not make
    facts["Layers"] = layers if not has_files else len(layers)
    return Built(200, lines, "", facts, [(each["CreatedBy"], each["Comment"]) for each in history], files)


def found_again(engine: Daemon, first: Case, second: Case) -> list[str]:
    """What the second of two builds tells."""
    _answer(engine, first)
    return _told(_answer(engine, second))[0]


def differences(pair: Pair, case: Case) -> list[str]:
    """What differs, one line for each place."""
    wanted, came = pair.pool.map(lambda engine: build(engine, case), (pair.reference, pair.ours))
    return list(_compared(wanted, came, case))


def _compared(wanted: Built, came: Built, case: Case) -> Iterator[str]:
    if wanted.status != came.status:
        yield f"status: wanted {wanted.status}, came {came.status}"
    if wanted.error != came.error:
        yield f"error: wanted {wanted.error!r}, came {came.error!r}"
    arrange = sorted if case.unordered else list
    if arrange(wanted.said) != arrange(came.said):
        yield f"said: wanted {wanted.said}, came {came.said}"
    told, ours = _without_digests(wanted, case), _without_digests(came, case)
    if told.history != ours.history:
        yield f"history: wanted {told.history}, came {ours.history}"
    yield from _fields("image", told.image, ours.image)
    yield from _fields("files", wanted.files, came.files)


def _without_digests(built: Built, case: Case) -> Built:
    """What was built, for comparison: with `links` the digests of what was copied tell nothing."""
    if not case.links:
        return built
    history = [(_DIGEST.sub("DIGEST", command), comment) for command, comment in built.history]
    command = [_DIGEST.sub("DIGEST", word) for word in built.image.get("Command") or ()]
    return replace(built, history=history, image=built.image | {"Command": command})


def _fields(what: str, wanted: Any, came: Any) -> Iterator[str]:
    if not isinstance(wanted, dict) or not isinstance(came, dict):
        if wanted != came:
            yield f"{what}: wanted {wanted!r}, came {came!r}"
        return
    for name in sorted(wanted.keys() | came.keys()):
        yield from _fields(f"{what}.{name}", wanted.get(name, "nothing"), came.get(name, "nothing"))
