"""What a probe says: one line of the table."""

from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct


class State(StrEnum):
    """How far a thing is there. LIMITED works, but not all of it; MISSING does not."""

    OK = "ok"
    LIMITED = "limited"
    MISSING = "missing"


class Finding(Struct, frozen=True):
    """One thing that the host offers, or does not."""

    topic: str
    """Kernel, Cgroups, Runtimes, Storage, Firewall, Network or Swarm."""
    name: str
    state: State
    detail: str
    """What was found, or why it fails and what that means for containers."""
    install: tuple[str, ...] = ()
    """Debian's packages that would bring it."""
    needed: bool = True
    """Whether no engine can run without it."""


def can_run(findings: Sequence[Finding]) -> bool:
    """Whether an engine can run: nothing needed is missing, and one OCI runtime works."""
    runtimes = [finding.state for finding in findings if finding.topic == "Runtimes"]
    missing = [finding for finding in findings if finding.needed and finding.state is State.MISSING]
    return not missing and any(state is not State.MISSING for state in runtimes)


def graded(topic: str, name: str, ok: bool, detail: str, otherwise: str, *, needed: bool = True) -> Finding:
    """A finding of a plain yes or no: `detail` if it is there, `otherwise` if not."""
    state = State.OK if ok else State.MISSING if needed else State.LIMITED
    return Finding(topic, name, state, detail if ok else otherwise, needed=needed)
