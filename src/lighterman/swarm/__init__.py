"""Orchestration: engines that work as one, with etcd as their common memory.

Five words. A *node* is an engine in a swarm. A *manager* is a node with a copy of the swarm's state, a member
of the etcd cluster; the *leader* is the manager that decides. An *agent* runs on each node, on managers too,
and brings about what is assigned to its node. A *task* is one container-to-be on one node.

`Swarm` is what the rest of the engine knows: whether this engine is in a swarm, and its `manager` if it is
one. Below it:

- `node`: this engine's life in a swarm: init, join, leave, unlock, start; the listener on port 2377.
- `ca`: certificates, join tokens, rotation.
- `store`: etcd as a child process, its mirror in memory, and writes that are guarded.
- `state`: what is stored; `control`: the API's verbs on it; `orchestrate`: the leader's decisions.
- `session`: the frames between managers and agents, and `call` what is said apart from it; `agent`: a node's
  end of both.
- `backup`: a swarm in one file.

Nothing of these is imported by an engine outside of any swarm.
"""

from lighterman.swarm.facade import Engine, Swarm

__all__ = ["Engine", "Swarm"]
