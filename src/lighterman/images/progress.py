"""Progress messages, as `registry.progress` makes them for all that comes from a registry or goes there."""

from lighterman.registry.progress import Emit, action, bar, human_size, status, step_action, stream

__all__ = ["Emit", "action", "bar", "human_size", "status", "step_action", "stream"]
