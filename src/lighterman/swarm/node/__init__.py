"""This node's life: init, join, leave, unlock, start; the port that other nodes come to.

`entering` are the ways in, `node` is the life, `leaving` says who would be missed. `credentials` is who a
node is, from its `books` on the disk; `addresses` is where it is, `describe` what it tells of itself,
`birth` a swarm's first values. `managing` keeps a `manager` going while the node has that role: it has a
`listener`, sessions (`dispatch`, with the work of each node from `assign`), hands out certificates
(`issue`, `rotation`) and leads sometimes (`leader`). `cluster` are the API's verbs on the swarm as a
whole; `wire` and `channels` are how nodes speak with each other. `calls` are to nodes, for what is
`elsewhere`: containers of tasks on them. `restored` brings a swarm back from a backup.
"""

from lighterman.swarm.node.entering import init, join, place_of_init
from lighterman.swarm.node.node import Node

__all__ = ["Node", "init", "join", "place_of_init"]
