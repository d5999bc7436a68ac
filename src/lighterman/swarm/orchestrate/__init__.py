"""The leader's decisions: which tasks there are to be, what they get, and where they go.

Every rule is a function of a `Round`: it reads the state and writes into a draft of it, so the next rule sees
what the last one decided. A rule may run at any time and as often as one likes; it has less and less to say.
`agenda` knows which rules a change concerns and runs them; `lead` is the one loop with effects.

- `allocate`: subnets, addresses, ports. `schedule`: nodes; `constraints` and `generic` belong to it.
- `replicated` and `global_`: how many tasks, in which places (`slots`). `restart`: what comes after a task
  that ended. `update`: from old tasks to new ones. `enforce`: tasks that do not fit their node any more.
- `liveness`: nodes that are gone. `reap`: old tasks. `jobs`: tasks that are to end
  well. `rebalance`: tasks that go back to nodes that have returned.

Source: SwarmKit, rule by rule; where it keeps facts in memory, they are in the state here, so that a new
leader knows what the last one knew.
"""

from lighterman.swarm.orchestrate.lead import lead

__all__ = ["lead"]
