"""How a plain container gets into a network of the swarm: who is asked for its place there."""

from typing import Protocol

from lighterman.networks.sandbox import EndpointWish


class Attacher(Protocol):
    """The swarm's agent on this node, as this room sees it."""

    async def attach(self, sandbox_id: str, name: str, wish: EndpointWish) -> EndpointWish:
        """The wish with the network's id and the address that the swarm has given; the network is known then.

        Raises: NoSuchNetwork, and what the swarm refuses it with.
        """

    def detach(self, sandbox_id: str, network_id: str = "") -> None:
        """The container has left that network, or all: its addresses may go to others. Idempotent;
        nothing for one that was never attached."""
