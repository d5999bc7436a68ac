"""What a container uses, asked once, and its limits changed while it runs."""

from benchmarks.rows import Bench, Numbers, timed

MIB = 1 << 20


def use(bench: Bench) -> Numbers:
    """A one-shot of stats (dockerd waits for its second sample), and an update of two limits."""
    numbers: dict[str, float] = {}
    client = bench.client
    cid = client.create("sleep", "600")
    client.start(cid)
    with timed(numbers, "stats, one shot"):
        client.raw("GET", f"/containers/{cid}/stats?stream=0")
    with timed(numbers, "update"):
        client.raw("POST", f"/containers/{cid}/update", {"Memory": 64 * MIB, "MemorySwap": 64 * MIB})
    client.remove(cid)
    return numbers
