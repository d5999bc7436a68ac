"""Images change hands: what one engine saves, commits or pushes is the same image in the other."""

from pathlib import Path

import pytest
from tests.differential.pair import Pair
from tests.support.engines import Daemon
from tests.support.images import busybox_layer, heavy_layers, saved


@pytest.fixture(scope="module")
def layered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("layered") / "layered.tar"
    path.write_bytes(saved(["layered:1"], [busybox_layer(), *heavy_layers(2, 2_000_000)]))
    return path


def committed(engine: Daemon, archive: Path) -> str:
    """An image that the engine made of a container; its id."""
    engine.docker("load", "-i", archive)
    script = "echo x >/x; rm /data0/0; rm -r /data1; mkdir /data1; chmod 1777 /data1; ln /x /y; ln -s /x /z"
    engine.docker.run("--name", "box", "layered:1", "sh", "-c", script)
    made = engine.docker.out("commit", "-m", "why", "-c", "LABEL a=b", "box", "made:1")
    engine.docker("rm", "box")
    return made


def seen(engine: Daemon) -> str:
    """What a container of the committed image finds."""
    return engine.docker.run(
        "--rm", "made:1", "sh", "-c", "ls -lna / /data0 /data1 | grep -Ev 'etc|proc|sys|dev'; cat /y /z"
    )


@pytest.mark.parametrize("ours_first", [True, False])
def test_a_committed_image_is_the_same_in_the_other_engine(
    pair: Pair, layered: Path, tmp_path: Path, *, ours_first: bool
) -> None:
    one, other = (pair.ours, pair.reference) if ours_first else (pair.reference, pair.ours)
    try:
        image_id = committed(one, layered)
        one.docker("save", "-o", tmp_path / "made.tar", "made:1")
        other.docker("load", "-i", tmp_path / "made.tar")
        here, there = (engine.docker.inspect("made:1") for engine in (one, other))
        assert (there["Id"], there["RootFS"]) == (image_id, here["RootFS"])
        assert there["Config"] == here["Config"]
        assert _without_times(seen(one)) == _without_times(seen(other))
    finally:
        for engine in (one, other):
            engine.docker("rmi", "-f", "made:1", "layered:1", check=False)


def _without_times(listing: str) -> list[list[str]]:
    """Mode, links, owners and names: of the top directories each engine makes some anew."""
    return [[*fields[:4], fields[-1]] for line in listing.splitlines() if (fields := line.split())]
