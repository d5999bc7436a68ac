"""What `builder.gc` of daemon.json says is kept of builds."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lighterman.build import Rule
from lighterman.daemon.build_rules import build_rules
from lighterman.daemon.configure import configure
from lighterman.lib.filters import Filters

GB = 1 << 30


def rules(**gc: Any) -> list[Rule]:
    return [*build_rules(configure({}, json.dumps({"builder": {"GC": gc}}).encode()))]


def test_without_a_wish_everything_is_kept() -> None:
    assert rules() == rules(enabled=False, policy=[{"all": True}]) == []


def test_rules_are_read_in_the_order_given_and_in_all_forms_that_were_ever_written() -> None:
    policy = [
        {"keepStorage": "10GB", "filter": ["unused-for=2200h"]},
        {"reservedSpace": "2GB", "Filter": {"Type": {"exec.cachemount": True}}},
        {"all": True, "filter": [" Inuse = false ", "type=regular", "type=exec.cachemount"]},
    ]
    assert rules(Enabled=True, defaultKeepStorage="1GB", policy=policy) == [
        Rule(Filters({"unused-for": ("2200h",)}), 10 * GB),
        Rule(Filters({"type": ("exec.cachemount",)}), 2 * GB),
        Rule(Filters({"inuse": ("false",), "type": ("regular", "exec.cachemount")}), GB, all=True),
    ]


def test_who_names_no_rules_has_those_of_dockerd() -> None:
    mounts = Filters({"type": ("exec.cachemount",), "unused-for": ("48h",)})
    assert rules(enabled=True, defaultKeepStorage="20GB") == [
        Rule(mounts, 2967302759),
        Rule(Filters({"unused-for": ("1440h",)}), 20 * GB),
        Rule(keep_bytes=20 * GB),
    ]


def test_who_names_no_size_has_a_tenth_of_the_disk(tmp_path: Path) -> None:
    file = {"data-root": str(tmp_path / "to" / "come"), "builder": {"gc": {"enabled": True}}}
    found = build_rules(configure({}, json.dumps(file).encode()))
    assert found[-1].keep_bytes == shutil.disk_usage(tmp_path).total // 10


@pytest.mark.parametrize("policy", [[], [{}]])
def test_a_policy_may_say_nothing_or_that_nothing_stays(policy: list[Any]) -> None:
    assert rules(enabled=True, policy=policy) == [Rule()] * len(policy)
