"""Recorded exchanges are read, and later ones are sent with our ids."""

import json
from pathlib import Path

import pytest
from tests.replay.recorded import VARIABLE, Ids, recorded

THEIRS, OURS = "a" * 64, "b" * 64


def test_exchanges_are_read_in_their_order(tmp_path: Path) -> None:
    rows = [
        {"label": "x", "method": "POST", "path": "/a", "req": {"Cmd": ["ls"]}, "status": 201, "line": "",
         "headers": [["Api-Version", "1.41"]], "body": "{}"},
        {"label": "y", "method": "POST", "path": "/b", "req": "<bytes>", "status": 200, "line": "",
         "headers": [], "body": ""},
        {"label": "z", "method": "POST", "path": "/c", "req": "[]", "status": 400, "line": "",
         "headers": [], "body": ""},
    ]  # fmt: skip
    file = tmp_path / "answers.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second, third = recorded(file)
    assert (first.label, first.status, first.headers) == ("x", 201, {"Api-Version": "1.41"})
    assert (first.request_body, third.request_body) == (b'{"Cmd": ["ls"]}', b"[]")
    assert (first.can_be_sent, second.can_be_sent) == (True, False)


def test_without_a_file_there_is_nothing_to_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert recorded() == []


def test_later_requests_name_what_we_made() -> None:
    ids = Ids()
    ids.learn({"Id": THEIRS, "Warnings": []}, {"Id": OURS, "Warnings": []})
    assert ids.translate(f"/containers/{THEIRS}/start") == f"/containers/{OURS}/start"
    assert ids.translate("/containers/x/start") == "/containers/x/start"
