"""Plugins: drivers that are no part of the engine.

Four words. A *managed* plugin is installed here and runs as a container of its own kind; a *legacy* plugin is
a process of the host that announces its socket by a file; an *extension* is a Python class that another
package names as an entry point. Each has *interfaces*: VolumeDriver, NetworkDriver, IpamDriver, LogDriver,
authz.

`Plugins` is the door: rooms above ask it for a driver by name and interface (`interfaces`) and never learn
which of the three it is. What lies behind is loaded when first needed: `service` (the verbs of the API),
`installing` and `distribution` (layers, registries), `processes` and `spec` (how it runs), `client` and
`drivers` (the protocol), `legacy`, `extensions`.
"""

from lighterman.plugins.door import Plugins
from lighterman.plugins.surroundings import DIRECTORIES, Surroundings

__all__ = ["DIRECTORIES", "Plugins", "Surroundings"]
