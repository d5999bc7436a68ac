"""Logs that are sent: to real receivers, living or dead, slow or gone in between."""

import asyncio
import json
import os
import signal
import ssl
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.runtime.bench import ALL, Bench, Peer
from tests.support.certificates import self_signed
from tests.support.receivers import Collector, Datagrams, Stream, fluentd_messages, unused_port
from tests.support.waiting import until

from lighterman.lib.log_records import records
from lighterman.runtime import Shipped, StartBroke

pytestmark = pytest.mark.engine
Settings = dict[str, str | int]
SYSLOG: Settings = {"facility": 3, "format": "rfc3164", "tag": "box"}
HI = ("sh", "-c", "echo hi; echo oh >&2; printf end")


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def silence(data: bytes) -> bytes:
    return b""


def stream(
    closing: ExitStack, *args: Path, reads: bool = True, answer: Callable[[bytes], bytes] = silence
) -> Stream:
    receiver = Stream(*args, reads=reads, answer=answer)
    closing.callback(receiver.close)
    return receiver


def datagrams(closing: ExitStack, path: Path | None = None) -> Datagrams:
    receiver = Datagrams(path)
    closing.callback(receiver.close)
    return receiver


async def ship(bench: Bench, driver: str, settings: Settings, *args: str, ring: int | None = None) -> str:
    """Run to the end with a log that is sent, and kept as records."""
    id, _ = await bench.run(*args, form="records", shipped=Shipped(driver, settings, ring))
    assert (await bench.exit()).code == 0
    return id


async def test_syslog_over_tcp_has_every_line_and_is_kept_too(bench: Bench, closing: ExitStack) -> None:
    receiver = stream(closing)
    id = await ship(bench, "syslog", SYSLOG | {"network": "tcp", "address": receiver.address}, *HI)
    lines = receiver.wait_for(lambda data: data.count(b"\n") == 3).splitlines()
    assert sorted((line[:4], line.rpartition(b": ")[2]) for line in lines) == [
        (b"<27>", b"oh"),
        (b"<30>", b"end"),
        (b"<30>", b"hi"),
    ]
    kept = [each.output.strip() for each in records(bench.log(id).read_bytes())]
    assert sorted(kept) == [b"end", b"hi", b"oh"]


@pytest.mark.parametrize("network", ["udp", "unixgram"])
async def test_syslog_in_datagrams(bench: Bench, closing: ExitStack, tmp_path: Path, network: str) -> None:
    receiver = datagrams(closing, None if network == "udp" else tmp_path / "log")
    await ship(bench, "syslog", SYSLOG | {"network": network, "address": receiver.address}, "echo", "hi")
    assert receiver.receive().endswith(b"]: hi\n")


async def test_syslog_over_a_unix_stream(bench: Bench, closing: ExitStack, tmp_path: Path) -> None:
    receiver = stream(closing, tmp_path / "log")
    await ship(bench, "syslog", SYSLOG | {"network": "unix", "address": receiver.address}, "echo", "hi")
    assert receiver.wait_for(len).endswith(b"]: hi\n")


async def test_syslog_over_tls_checks_who_it_speaks_to(
    bench: Bench, closing: ExitStack, tmp_path: Path
) -> None:
    cert, key = self_signed(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    receiver = Stream(wrap=lambda sock: context.wrap_socket(sock, server_side=True))
    closing.callback(receiver.close)
    told: Settings = {**SYSLOG, "network": "tcp+tls", "address": receiver.address, "format": "rfc5424"}
    await ship(bench, "syslog", told | {"ca": str(cert)}, "echo", "hi")
    length, _, text = receiver.wait_for(len).partition(b" ")
    assert int(length) == len(text)
    with pytest.raises(StartBroke, match=r"failed to initialize logging driver: dial tcp\+tls .*tls: "):
        await bench.run("true", shipped=Shipped("syslog", told))


async def test_the_journal_has_fields_and_lines_of_any_size(
    bench: Bench, closing: ExitStack, tmp_path: Path
) -> None:
    receiver = datagrams(closing, tmp_path / "journal")
    told: Settings = {
        "address": receiver.address,
        "fields.CONTAINER_NAME": "box",
        "fields.BIG": "x" * 300_000,
    }
    await ship(bench, "journald", told, "echo", "hi")
    message = receiver.receive()
    assert message.startswith(b"MESSAGE=hi\nPRIORITY=6\n")
    assert b"\nCONTAINER_NAME=box\n" in message
    assert len(message) > 300_000


GELF: Settings = {"extra": '{"_tag":"box"}', "level": 1, "reconnects": 1, "delay_s": 0}


async def test_gelf_over_udp_is_packed_and_in_chunks(bench: Bench, closing: ExitStack) -> None:
    receiver = datagrams(closing)
    told: Settings = {**GELF, "network": "udp", "address": receiver.address}
    await ship(bench, "gelf", told | {"compression": "gzip"}, "echo", "hi")
    assert json.loads(zlib.decompress(receiver.receive(), 31))["short_message"] == "hi"
    await ship(bench, "gelf", told | {"compression": "none"}, "sh", "-c", "seq 1 1000 | tr '\\n' x; echo")
    first = receiver.receive()
    chunks = [first] + [receiver.receive() for _ in range(first[11] - 1)]
    message = json.loads(b"".join(chunk[12:] for chunk in sorted(chunks, key=lambda chunk: chunk[10])))
    assert message["short_message"].startswith("1x2x3x")
    assert message["_tag"] == "box"


async def test_gelf_over_tcp_goes_on_after_its_receiver_came_back(bench: Bench, closing: ExitStack) -> None:
    receiver = stream(closing)
    told: Settings = {**GELF, "network": "tcp", "address": receiver.address, "compression": "none"}
    id, _ = await bench.run(
        "sh", "-c", "echo a; read x; echo b; sleep 0.1; echo c", stdin=True, shipped=Shipped("gelf", told)
    )
    await asyncio.to_thread(receiver.wait_for, lambda data: data.count(b"\0") == 1)
    receiver.hang_up()
    await feed(bench, id, b"\n")
    await bench.exit()
    data = receiver.wait_for(lambda data: b'"c"' in data)
    assert all(json.loads(each)["version"] == "1.1" for each in data.split(b"\0")[:-1])


async def feed(bench: Bench, id: str, data: bytes) -> None:
    peer = Peer()
    await bench.runtime.attach(id, peer.client, ALL)
    await peer.send(data)


FLUENTD: Settings = {
    "tag": "box",
    "retries": 100,
    "wait_ms": 20,
    "fields.container_id": "1",
    "fields.container_name": "/box",
    "fields.label": "x",
}


@pytest.mark.parametrize("network", ["tcp", "unix"])
async def test_fluentd_has_records_to_the_nanosecond(
    bench: Bench, closing: ExitStack, tmp_path: Path, network: str
) -> None:
    receiver = stream(closing, *([] if network == "tcp" else [tmp_path / "fluentd"]))
    told: Settings = {**FLUENTD, "network": network, "address": receiver.address, "exact": 1}
    await ship(bench, "fluentd", told, *HI)
    receiver.wait_for(lambda data: len(fluentd_messages(data)) == 3)
    messages = fluentd_messages(receiver.data)
    assert sorted((record["source"], record["log"]) for _, _, record, _ in messages) == [
        ("stderr", "oh"),
        ("stdout", "end"),
        ("stdout", "hi"),
    ]
    assert all((tag, record["label"], when.code) == ("box", "x", 0) for tag, when, record, _ in messages)


async def test_fluentd_is_sent_again_what_it_did_not_acknowledge(bench: Bench, closing: ExitStack) -> None:
    tries: list[str] = []

    def answer(data: bytes) -> bytes:
        (message,) = fluentd_messages(data)
        tries.append(message[2]["log"])
        chunk = message[3]["chunk"].encode()
        ack = b"\x81\xa3ack\xd9" + bytes((len(chunk),)) + chunk
        return ack if len(tries) > 1 else b"\x81\xa3ack\xd9" + bytes((len(chunk),)) + b"x" * len(chunk)

    receiver = stream(closing, answer=answer)
    told: Settings = {**FLUENTD, "network": "tcp", "address": receiver.address, "ack": 1}
    await ship(bench, "fluentd", told, "echo", "hi")
    assert tries == ["hi", "hi"]


async def test_fluentd_async_starts_without_its_receiver(bench: Bench) -> None:
    told: Settings = {**FLUENTD, "network": "tcp", "address": f"127.0.0.1:{unused_port()}"}
    with pytest.raises(StartBroke) as refusal:
        await bench.run("true", shipped=Shipped("fluentd", told))
    assert str(refusal.value) == (
        f"failed to initialize logging driver: dial tcp {told['address']}: connect: connection refused"
    )
    await ship(bench, "fluentd", told | {"async": 1}, "echo", "hi", ring=1 << 20)


async def test_splunk_has_events_with_its_token(bench: Bench, closing: ExitStack) -> None:
    collector = Collector()
    closing.callback(collector.close)
    told: Settings = {
        "address": collector.address, "token": "secret", "format": "inline", "tag": "box", "gzip": 1,
        "level": -1, "verify": 1, "wait_ms": 5000, "index": "main", "fields.app": "web",
    }  # fmt: skip
    await ship(bench, "splunk", told, "echo", "hi")
    assert collector.methods[0] == "OPTIONS /services/collector/event/1.0"
    (event,) = collector.events
    assert event["event"] == {"line": "hi", "source": "stdout", "tag": "box", "attrs": {"app": "web"}}
    assert event["index"] == "main"
    assert collector.headers[-1]["Authorization"] == "Splunk secret"
    collector.status = 403
    with pytest.raises(StartBroke, match="splunk: failed to verify connection - 403 Forbidden - "):
        await bench.run("true", shipped=Shipped("splunk", told))
    nobody = f"127.0.0.1:{unused_port()}"
    with pytest.raises(StartBroke) as refusal:
        await bench.run("true", shipped=Shipped("splunk", told | {"address": nobody}))
    assert str(refusal.value) == (
        f'failed to initialize logging driver: Options "http://{nobody}/services/collector/event/1.0": '
        f"dial tcp {nobody}: connect: connection refused"
    )


# Receivers that are slow, dead or gone


def waiting(pid: int) -> bool:
    """Whether the process waits in write(2) for a pipe."""
    return "pipe_write" in Path(f"/proc/{pid}/wchan").read_text() or _syscall(pid) == "1"


def _syscall(pid: int) -> str:
    return Path(f"/proc/{pid}/syscall").read_text().split()[0]


async def test_blocking_a_slow_receiver_stops_the_process_and_loses_nothing(
    bench: Bench, closing: ExitStack
) -> None:
    receiver = stream(closing, reads=False)
    told: Settings = {**SYSLOG, "network": "tcp", "address": receiver.address}
    id, running = await bench.run("seq", "1", "800000", log=False, shipped=Shipped("syslog", told))
    await asyncio.to_thread(until, lambda: waiting(running.pid), what="the process waits")
    assert memory_kib(monitor_of(bench, id)) < 12_000
    receiver.reads.set()
    assert (await bench.exit()).code == 0
    data = receiver.wait_for(lambda data: data.endswith(b": 800000\n"))
    assert [int(line.rpartition(b" ")[2]) for line in data.splitlines()] == list(range(1, 800_001))


@pytest.mark.parametrize("driver", ["syslog", "gelf"])
async def test_nonblocking_a_slow_receiver_costs_the_oldest_lines_and_no_time(
    bench: Bench, closing: ExitStack, driver: str
) -> None:
    receiver = stream(closing, reads=False)
    told: Settings = {**SYSLOG, **GELF, "network": "tcp", "address": receiver.address, "compression": "none"}
    id, _ = await bench.run(
        "seq", "1", "300000", form="records", shipped=Shipped(driver, told, ring_bytes=100_000)
    )
    kept = b"300000\n"
    await asyncio.to_thread(until, lambda: bench.log(id).read_bytes()[-11:-4] == kept, what="all is kept")
    receiver.reads.set()
    assert (await bench.exit()).code == 0
    receiver.wait_for(lambda data: b"300000" in data)
    assert receiver.data.count(b"\n") + receiver.data.count(b"\0") < 250_000
    assert sum(each.output.count(b"\n") for each in records(bench.log(id).read_bytes())) == 300_000


async def test_nonblocking_a_receiver_that_never_reads_holds_up_no_end(
    bench: Bench, closing: ExitStack, tmp_path: Path
) -> None:
    receiver = stream(closing, tmp_path / "log", reads=False)
    told: Settings = {**SYSLOG, "network": "unix", "address": receiver.address}
    await bench.run("seq", "1", "300000", shipped=Shipped("syslog", told, ring_bytes=100_000))
    end = await asyncio.wait_for(bench.exit(), 8)
    assert end.code == 0


async def test_a_receiver_that_dies_does_not_harm_the_container(bench: Bench, closing: ExitStack) -> None:
    receiver = stream(closing)
    told: Settings = {**SYSLOG, "network": "tcp", "address": receiver.address}
    id, _ = await bench.run(
        "sh", "-c", "echo a; read x; seq 1 50000", stdin=True, form="records", shipped=Shipped("syslog", told)
    )
    await asyncio.to_thread(receiver.wait_for, len)
    receiver.close()
    receiver.hang_up()
    await feed(bench, id, b"\n")
    assert (await bench.exit()).code == 0
    assert sum(each.output.count(b"\n") for each in records(bench.log(id).read_bytes())) == 50_001


async def test_a_file_that_nobody_may_wait_for_is_complete_at_the_end(bench: Bench) -> None:
    id, _ = await bench.run("seq", "1", "1000", shipped=Shipped("file", {}, ring_bytes=1 << 20))
    await bench.exit()
    assert bench.text(id).split() == [str(number) for number in range(1, 1001)]


# What dies and what goes on


def monitor_of(bench: Bench, id: str) -> int:
    state = (bench.exec_root / "c" / id / "state").read_bytes()
    return int(state.partition(b"monitor=")[2].partition(b"\0")[0])


def helper_of(monitor: int) -> int:
    children = Path(f"/proc/{monitor}/task/{monitor}/children").read_text().split()
    (helper,) = (int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text().startswith("lm-log-"))
    return helper


def memory_kib(pid: int) -> int:
    (line,) = (
        line for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() if line.startswith("Pss:")
    )
    return int(line.split()[1])


WORK = ("sh", "-c", "echo a; read x; echo b; read x; echo c")


@pytest.mark.parametrize("killed", ["helper", "monitor", "daemon"])
async def test_the_log_goes_on_when_a_part_is_killed(bench: Bench, closing: ExitStack, killed: str) -> None:
    receiver = stream(closing)
    told: Settings = {**SYSLOG, "network": "tcp", "address": receiver.address}
    id, _ = await bench.run(*WORK, tty=True, stdin=True, form="records", shipped=Shipped("syslog", told))
    await asyncio.to_thread(receiver.wait_for, lambda data: b": a" in data)
    monitor = monitor_of(bench, id)
    helper = helper_of(monitor)
    await asyncio.to_thread(until, lambda: age_s(helper) > 1.1, what="a helper that has lived for a while")
    if killed == "daemon":
        await bench.runtime.close()
        await bench.open()
        await bench.runtime.recover()
    else:
        os.kill(helper if killed == "helper" else monitor, signal.SIGKILL)
        await asyncio.to_thread(
            until, lambda: monitor_and_helper(bench, id) != (monitor, helper), what="next"
        )
    await feed(bench, id, b"\n")
    await asyncio.to_thread(receiver.wait_for, lambda data: b": b" in data)
    await feed(bench, id, b"\n")
    assert (await bench.exit()).code == 0
    receiver.wait_for(lambda data: b": c" in data)


def monitor_and_helper(bench: Bench, id: str) -> tuple[int, int]:
    monitor = monitor_of(bench, id)
    try:
        return monitor, helper_of(monitor)
    except (OSError, ValueError):
        return 0, 0  # in between


def age_s(pid: int) -> float:
    ticks = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return uptime - ticks / os.sysconf("SC_CLK_TCK")


async def test_elders_of_a_log_are_compressed_and_whole(bench: Bench) -> None:
    id, _ = await bench.run("seq", "1", "20000", max_size_bytes=400_000, max_files=9, compress=True)
    await bench.exit()
    await asyncio.to_thread(until, lambda: not plain_elders(bench, id), what="all elders compressed")
    elders = sorted(bench.tmp.glob(f"{id}-json.log.*.gz"), reverse=True)
    packed = b"".join(zlib.decompress(elder.read_bytes(), 31) for elder in elders)
    assert len(elders) >= 2
    assert (packed + bench.log(id).read_bytes()).count(b"\n") == 20_000


def plain_elders(bench: Bench, id: str) -> list[Path]:
    return [path for path in bench.tmp.glob(f"{id}-json.log.*") if path.suffix != ".gz"]
