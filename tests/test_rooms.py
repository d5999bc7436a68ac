"""The import rule: a room knows only the rooms below it. `if TYPE_CHECKING` and imports inside functions
count too: a type is knowledge."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "lighterman"
ROOMS = """__main__ / daemon / api / swarm build / containers / images networks volumes / plugins
/ runtime snapshots registry / content / events oci / db / linux / lib / apitypes / reference / errdefs"""
DEPTH = {room: depth for depth, floor in enumerate(ROOMS.split("/")) for room in floor.split()}
ONLY_IN = {
    "aiohttp.web": ("api/", "swarm/node/listener.py"),  # the port of nodes serves nothing of the API
    "sqlite3": ("db/",),
    "ctypes": ("linux/",),
    "grpc": ("swarm/store", "build/session"),
}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_down_only(path: Path) -> None:
    place = path.relative_to(PACKAGE)
    room = place.with_suffix("").parts[0]
    for name in imports(path):
        target = name.removeprefix("lighterman.").partition(".")[0]
        if name.startswith("lighterman.") and target in DEPTH and target != room and room != "__init__":
            assert DEPTH[target] > DEPTH[room], f"{room} may not know {target}"
        for library, owners in ONLY_IN.items():
            theirs = f"{name}.".startswith((f"{library}.", f"{library}_"))  # aiohttp.web_request, too
            foreign = theirs and not place.as_posix().startswith(owners)
            assert not foreign, f"{library} belongs to {owners}"
