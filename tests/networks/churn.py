"""A daemon's networks that come and go, are joined and left until they are killed: argv is the root, the
bridge and its address. Prints the id of each sandbox as it comes."""

import asyncio
import secrets
import sys
from pathlib import Path

from lighterman.apitypes.network import NetworkCreateBody
from lighterman.db import Database
from lighterman.events import Events
from lighterman.networks import EndpointWish, NetworkConfig, Networks, PortWish, SandboxWish


async def churn(root: Path, config: NetworkConfig) -> None:
    db = Database(root / "state.db")
    networks = await Networks.open(db=db, events=Events(db), exec_root=root, config=config)
    await networks.reconcile({})

    async def live() -> None:
        while True:
            wish = SandboxWish(secrets.token_hex(32), "c", (EndpointWish("bridge"),), (PortWish(80, "tcp"),))
            sandbox = networks.reserve(wish)
            made = await networks.create(NetworkCreateBody(sandbox.id[:12]))
            await networks.connect(sandbox)
            print(sandbox.id, flush=True)
            await networks.join(sandbox.id, EndpointWish(made.id))
            await networks.leave(sandbox.id, made.id)
            await networks.disconnect(sandbox.id)
            await networks.remove(made.id)

    await asyncio.gather(*(live() for _ in range(4)))


asyncio.run(churn(Path(sys.argv[1]), NetworkConfig(bridge_name=sys.argv[2], bip=sys.argv[3])))
