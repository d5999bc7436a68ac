"""A node's side of a swarm: it does what managers assign to it, and tells what became of it.

The walk: `Agent` keeps a session with some manager; what is assigned goes to the `Worker`, which knows
networks (`overlay`, the routing mesh too), secrets and configs (`payloads`), and has a `Runner` for each
task. A runner asks `progress`, a pure table, what is next, and lets a `Controller` do it with the task's
container, which `task_container` has planned. Each state is written down before it is told, so that an engine
that starts goes on with what runs. `attachments` lets plain containers into the swarm's networks, `logs`
reads for others, `calls` lets managers run processes in containers of tasks.
"""

from lighterman.swarm.agent.agent import Agent
from lighterman.swarm.agent.worker import forget_all

__all__ = ["Agent", "forget_all"]
