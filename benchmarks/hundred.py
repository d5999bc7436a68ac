"""`python -m benchmarks.hundred`: our engine's start beside 100 networks in which 300 ends are in use.

dockerd is not measured beside it: with its containers running it does not come back after its fall here.
"""

import time

from tests.support.engines import Engine
from tests.support.images import BUSYBOX, saved

from benchmarks.client import Client

NETWORKS, CONTAINERS, ENDS_EACH = 100, 30, 10


def main() -> None:
    """Print the milliseconds from the start of the process to its first answer, without and with all that."""
    engine = Engine()
    try:
        engine.start()
        engine.docker("load", stdin=saved([BUSYBOX]))
        with Client(engine.socket) as client:
            for number in range(NETWORKS):
                client.raw("POST", "/networks/create", {"Name": f"n{number}"})
            print(f"alone: {restarted_ms(engine):.0f} ms")
            client.connection.close()
        with Client(engine.socket) as client:
            for number in range(CONTAINERS):
                first = number * ENDS_EACH % NETWORKS
                cid = client.create("sleep", "600", network=f"n{first}")
                client.start(cid)
                for other in range(first + 1, first + ENDS_EACH):
                    client.raw("POST", f"/networks/n{other}/connect", {"Container": cid})
        print(f"beside {NETWORKS} networks and {CONTAINERS * ENDS_EACH} ends: {restarted_ms(engine):.0f} ms")
        engine.clean()
    finally:
        engine.close()


def restarted_ms(engine: Engine) -> float:
    """Kill the engine; how long the next takes until it answers."""
    engine.kill()
    began = time.perf_counter()
    engine.start()
    return (time.perf_counter() - began) * 1000


if __name__ == "__main__":
    main()
