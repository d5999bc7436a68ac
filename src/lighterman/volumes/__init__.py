"""Volumes: directories that outlive containers.

Two words. A *volume* has a name, a driver (only `local` so far) and a data directory; a *holder* is the
container that has it mounted. A volume with mount options (`type`, `o`, `device`) is mounted on its data
directory while somebody holds it. Who refers to a volume is known by the room above, which hands in `users`.
"""

from lighterman.volumes.service import Volumes
from lighterman.volumes.volume import VolumeRow

__all__ = ["VolumeRow", "Volumes"]
