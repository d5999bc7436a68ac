"""What happened, told to whoever listens.

Each room publishes the events of its own effects with `Events.publish`, which never waits. The log keeps
the last 1,000 in memory and on disk, so `since` works across restarts. A *listener* is one client: its
queue is bounded, and one that does not read is cut off while the others lose nothing.
"""

from lighterman.events.log import Events, Listener
from lighterman.events.matching import matches

__all__ = ["Events", "Listener", "matches"]
