"""The audit's lines: what is in them, and where they go."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from lighterman.api import Deed
from lighterman.api.hijack import Peer
from lighterman.daemon.audit import AuditLog, audited
from lighterman.errdefs import System

ROOT = Peer(uid=0, gid=7, pid=9)


def deed(**changes: Any) -> Deed:
    facts = {"operation": "VolumeDelete", "names": {"name": "v"}, "peer": ROOT, "status": 204}
    return Deed(**{**facts, **changes})


def test_a_line_tells_who_what_and_how_it_ended() -> None:
    line = audited(deed(made="x", role="no-exec"), 1_700_000_000_123_456_789)
    assert line == {
        "time": "2023-11-14T22:13:20.123Z",
        "uid": 0,
        "gid": 7,
        "pid": 9,
        "role": "no-exec",
        "operation": "VolumeDelete",
        "target": {"name": "v"},
        "made": "x",
        "outcome": "done",
        "status": 204,
    }


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "done"), (304, "done"), (401, "refused"), (403, "refused"), (404, "failed"), (499, "gone")],
)
def test_an_outcome_is_a_word(status: int, outcome: str) -> None:
    assert audited(deed(status=status), 0)["outcome"] == outcome


def test_no_name_can_be_read_as_another_field() -> None:
    peer = Peer(address="10.0.0.1:5", certificate='x uid=0 pid=1", "uid": 0\n{}')
    line = json.dumps(audited(deed(peer=peer, names={"id": "a\nb"}), 0))
    assert "\n" not in line
    read = json.loads(line)
    assert (read["certificate"], "uid" in read, read["target"]) == (peer.certificate, False, {"id": "a\nb"})


async def test_a_file_that_was_moved_away_is_followed_by_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    with AuditLog(str(path)) as audit:
        await audit.write(deed(names={"name": "before"}))
        path.rename(tmp_path / "audit.log.1")
        await asyncio.gather(*(audit.write(deed(names={"name": str(number)})) for number in range(50)))
    assert path.stat().st_mode & 0o777 == 0o600
    assert "before" in (tmp_path / "audit.log.1").read_text()
    told = [json.loads(line)["target"]["name"] for line in path.read_text().splitlines()]
    assert told == [str(number) for number in range(50)]


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "audit.log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(System, match="cannot be opened"):
        AuditLog(str(tmp_path / "audit.log"))


async def test_a_line_that_cannot_be_written_harms_no_request(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "place" / "audit.log"
    path.parent.mkdir()
    with AuditLog(str(path)) as audit:
        path.unlink()
        path.parent.rmdir()
        await audit.write(deed())
    assert "op=audit outcome=lost" in caplog.text
