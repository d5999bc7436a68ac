"""`lighterman check`: what this host offers to containers, found by trying, and what to install.

A *probe* tries one part of the host and takes back all that it did; a *finding* is what it says, a line of
the table; the verdict is whether an engine can run. The probes can be imported one by one.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from msgspec.structs import asdict
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lighterman.daemon.check.finding import Finding, State, can_run
from lighterman.daemon.check.probes import (
    probe_cgroups,
    probe_firewall,
    probe_kernel,
    probe_network,
    probe_runtimes,
    probe_storage,
    probe_swarm,
)
from lighterman.linux.host import Host, probe_host

__all__ = [
    "Finding",
    "State",
    "can_run",
    "examine",
    "main",
    "probe_cgroups",
    "probe_firewall",
    "probe_kernel",
    "probe_network",
    "probe_runtimes",
    "probe_storage",
]

FILE_COLUMNS = 120
COLOURS = {State.OK: "green", State.LIMITED: "yellow", State.MISSING: "red"}


def main(data_root: Path, as_json: bool) -> int:
    """Print what was found. 0 if an engine can run here, else 1."""
    host = probe_host()
    findings = examine(host, data_root)
    if as_json:
        print(json.dumps({"can_run": can_run(findings), "findings": [asdict(each) for each in findings]}))
    else:
        _print_table(findings)
    return 0 if can_run(findings) else 1


def examine(host: Host, data_root: Path) -> list[Finding]:
    """All findings, in the order of the table. Blocks: about half a second."""
    return [
        *probe_kernel(host),
        *probe_cgroups(host),
        *probe_runtimes(host),
        *probe_storage(data_root),
        *probe_firewall(),
        *probe_network(host),
        *probe_swarm(),
    ]


def _print_table(findings: Sequence[Finding]) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=FILE_COLUMNS)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("", "", "State", "Found", "Install"):
        table.add_column(heading, overflow="fold")
    topic = ""
    for finding in findings:
        shown = finding.topic if finding.topic != topic else ""
        topic = finding.topic
        colour = COLOURS[finding.state]
        state = f"[{colour}]{finding.state.value}[/]"
        table.add_row(shown, finding.name, state, escape(finding.detail), " ".join(finding.install))
    console.print(table)
    console.print("An engine can run here." if can_run(findings) else "[red]An engine cannot run here.[/]")
