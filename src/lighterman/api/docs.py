"""The documents of the API, made from the table of routes.

`python -m lighterman.api.docs > docs/api.md` writes the one for readers; `--openapi` prints the one for
programs (`openapi.py`).
"""

import sys
from collections.abc import Sequence

from lighterman.api import versions
from lighterman.api.routes import LARGE_BYTES, MISSING, SERVED, SMALL_BYTES, Flow, Route

_FLOWS = {
    Flow.PLAIN: "",
    Flow.STREAM: "streams",
    Flow.HIJACK: "takes over the connection",
    Flow.WEBSOCKET: "speaks websocket frames",
}
_BODIES = {None: "an archive of any size", LARGE_BYTES: f"{LARGE_BYTES >> 20} MiB"}


def document() -> str:
    """The text of docs/api.md."""
    return "\n".join(
        [
            "# The API",
            "",
            "Made from `src/lighterman/api/routes.py` by `python -m lighterman.api.docs`; a test compares.",
            "What an operation takes and gives is the specification of Docker Engine API "
            f"{versions.text(versions.DEFAULT)}, with what later versions added.",
            "",
            f"Served are versions {versions.text(versions.OLDEST)} to {versions.text(versions.NEWEST)} "
            f"(`/v1.NN/` before the path; without it {versions.text(versions.DEFAULT)}). What differs "
            "between them is the table in `src/lighterman/api/gates.py`.",
            "",
            f"A body has no more than {SMALL_BYTES >> 20} MiB, unless the table says otherwise; "
            "a larger one is answered with 400.",
            "",
            f"{len({route.operation for route in SERVED})} operations are answered, "
            f"{len(MISSING)} are still to come and answer 501.",
            "",
            "## Served",
            "",
            *_table(SERVED),
            "",
            *(["## Still to come", "", *_table(MISSING), ""] if MISSING else []),
        ]
    )


def _table(routes: tuple[Route, ...]) -> list[str]:
    return [
        "| operation | request | since | connection | body |",
        "|---|---|---|---|---|",
        *map(_row, routes),
    ]


def _row(route: Route) -> str:
    path = route.path.replace(":.*", "")
    since = versions.text(route.since) if route.since > versions.OLDEST else ""
    body = _BODIES.get(route.body_bytes, "")
    return f"| {route.operation} | `{route.method} {path}` | {since} | {_FLOWS[route.flow]} | {body} |"


def main(arguments: Sequence[str]) -> None:
    """Print the document that was asked for."""
    if "--openapi" in arguments:
        import msgspec

        from lighterman.api import openapi  # the types of everything, which docs/api.md does not need

        print(msgspec.json.format(msgspec.json.encode(openapi.document())).decode())
    else:
        print(document(), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
