"""Nodes of the swarm."""

from lighterman.api.handlers.swarm import to_come

list_ = inspect = delete = update = to_come
