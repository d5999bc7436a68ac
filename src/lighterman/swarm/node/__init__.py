"""This node's life: init, join, leave, unlock, start; the port that other nodes come to.

`node` is the life itself, `birth` a swarm's first values, `books` what lies on the disk, `addresses` where
the node is. A manager (`manager`) has a listener (`listener`), sessions (`dispatch`, with the work of each
node from `assign`), hands out certificates (`issue`, `rotation`) and leads sometimes (`leader`); `cluster`
are the API's verbs on the swarm as a whole. `wire` and `channels` are what nodes say to each other outside
of frames, and how frames travel.
"""

from lighterman.swarm.node.node import Node

__all__ = ["Node"]
