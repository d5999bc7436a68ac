"""Files in and out of a container that sleeps: 2000 small ones and a large one, as `docker cp` moves them."""

from functools import cache

from tests.support.images import entry, tarball

from benchmarks.client import Client
from benchmarks.rows import Bench, Numbers, timed

SMALL_FILES = 2000
SMALL_BYTES = 4 << 10
LARGE_BYTES = 100 << 20


@cache
def upload() -> bytes:
    """The archive that is put in."""
    small = [(entry(f"many/{number}", mode=0o644), b"x" * SMALL_BYTES) for number in range(SMALL_FILES)]
    return tarball([*small, (entry("large", mode=0o644), bytes(LARGE_BYTES))])


def archives(bench: Bench) -> Numbers:
    """Put them in, get them back, export all of the container, and list what has changed."""
    numbers: dict[str, float] = {}
    client = bench.client
    cid = client.create("sleep", "600", network="none")
    client.start(cid)
    client.bare("PUT", f"/containers/{cid}/archive?path=/home", b"")  # a helper at rest is woken here
    with timed(numbers, "archive put, 2000 files + 100 MB"):
        answer = client.bare("PUT", f"/containers/{cid}/archive?path=/home", upload())
    assert answer.status == 200, answer
    with timed(numbers, "archive get"):
        got = swallowed(client, f"/containers/{cid}/archive?path=/home")
    with timed(numbers, "export"):
        exported = swallowed(client, f"/containers/{cid}/export")
    with timed(numbers, "changes"):
        client.raw("GET", f"/containers/{cid}/changes")
    client.remove(cid)
    assert exported > got > LARGE_BYTES
    return numbers


def swallowed(client: Client, path: str) -> int:
    """Read an answer to its end; how many bytes it had."""
    client.connection.request("GET", f"/v1.36{path}")
    answer, total, buffer = client.connection.getresponse(), 0, bytearray(1 << 20)
    while count := answer.readinto(buffer):
        total += count
    return total
