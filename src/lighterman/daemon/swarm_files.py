"""`lighterman swarm backup` and `lighterman swarm restore`: their words, and what holds an engine off."""

import asyncio
import datetime as dt
import sys
from pathlib import Path

from lighterman import __version__
from lighterman.daemon.process import claim_data_root, held_alone
from lighterman.errdefs import EngineError
from lighterman.swarm import backup as backups


def backup(file: Path, data_root: Path, exec_root: Path) -> int:
    """Write the swarm of the manager that runs here to `file`. 0, or 1 with a complaint."""
    socket = exec_root / "swarm" / "etcd" / "client:0"
    try:
        made = asyncio.run(backups.take(data_root / "swarm", socket, __version__, _now()))
        backups.write(made, file)
    except (EngineError, OSError) as error:
        return _complain(f"no backup was made: {error}")
    print(f"{file}: {len(made.pairs())} keys of the swarm {made.about.cluster_id}, and what opens them.")
    return 0


def restore(file: Path, data_root: Path) -> int:
    """Lay the swarm of `file` down below a data root that no engine uses. 0, or 1 with a complaint."""
    try:
        made = backups.read(file)
        claim_data_root(data_root)
        with held_alone(data_root / "lock", f"data root {data_root}"):
            backups.restore(made, data_root / "swarm", _now())
    except (EngineError, OSError) as error:
        return _complain(f"nothing was restored: {error}")
    print(
        f"The swarm {made.about.cluster_id} as of {made.about.made} lies in {data_root / 'swarm'}.\n"
        "An engine that starts there is its only manager. On another host than before, follow with "
        "docker swarm init --force-new-cluster --advertise-addr ADDRESS."
    )
    return 0


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _complain(text: str) -> int:
    print(text, file=sys.stderr)
    return 1
