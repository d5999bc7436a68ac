"""A plugin with every interface, on the standard library alone: it runs as a program, on the host or in a
root file system of its own, and is what the tests of plugins drive.

It listens on the socket that it is started with. Beside the socket lie `calls`, a line of JSON for each call,
and, if a test has written it, `misbehave`: an object of methods and what becomes of their calls ("hang",
"crash", "nonsense", "types", "huge", "refuse", "status", or an object that is the answer); with `when` only
of those that have this text in them. Volumes are file systems of their own (tmpfs), mounted below VOLUMES for
as long as somebody uses them; a network is a bridge, an endpoint a veth pair, a published port a relay.
"""

import ctypes
import json
import os
import shutil
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from base64 import b64decode
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any

Body = dict[str, Any]
SOCKET = Path(sys.argv[1] if len(sys.argv) > 1 else "plugin.sock")
VOLUMES = Path(os.environ.get("VOLUMES", "/mnt/volumes"))
OWN_FILE_SYSTEMS = "VOLUMES" not in os.environ  # on the host they are directories: tests mount nothing there
IMPLEMENTS = ["VolumeDriver", "NetworkDriver", "IpamDriver", "LogDriver", "authz"]
libc = ctypes.CDLL(None, use_errno=True)


def beside(name: str) -> Path:
    return SOCKET.parent / name


# volumes

volumes: dict[str, set[str]] = {}


def known(body: Body) -> set[str]:
    if body["Name"] not in volumes:
        raise KeyError("no such volume")
    return volumes[body["Name"]]


def create_volume(body: Body) -> Body:
    volumes.setdefault(body["Name"], set())
    (VOLUMES / body["Name"]).mkdir(parents=True, exist_ok=True)
    return {}


def remove_volume(body: Body) -> Body:
    known(body)
    del volumes[body["Name"]]
    shutil.rmtree(VOLUMES / body["Name"])
    return {}


def mount_volume(body: Body) -> Body:
    users, path = known(body), VOLUMES / body["Name"]
    first = OWN_FILE_SYSTEMS and not users
    if first and libc.mount(b"volume", os.fsencode(path), b"tmpfs", 0, b"size=1m"):
        raise OSError(ctypes.get_errno(), f"mount {path}")
    users.add(body["ID"])
    return {"Mountpoint": str(path)}


def unmount_volume(body: Body) -> Body:
    users = known(body)
    users.discard(body["ID"])
    if OWN_FILE_SYSTEMS and not users:
        libc.umount2(os.fsencode(VOLUMES / body["Name"]), 2)
    return {}


def volume_of(name: str) -> Body:
    mountpoint = str(VOLUMES / name) if volumes[name] else ""
    return {"Name": name, "Mountpoint": mountpoint, "Status": {"users": len(volumes[name])}}


def get_volume(body: Body) -> Body:
    known(body)
    return {"Volume": volume_of(body["Name"])}


# networks

options: dict[str, dict[str, str]] = {}
"""Of each network: `gateway=off` leads nobody out, `service=off` lets nobody else do it either."""
gateways: dict[str, str] = {}
addresses: dict[str, str] = {}
"""Of each endpoint."""
published: dict[str, list[socket.socket]] = {}
"""By endpoint, what listens for it."""
told: dict[str, list[Body]] = {}
"""By endpoint, the ports that it answers on."""


def ip(*args: str) -> None:
    subprocess.run(["ip", *args], check=True, capture_output=True)


def create_network(body: Body) -> Body:
    bridge = "lmp" + body["NetworkID"][:8]
    ip("link", "add", bridge, "type", "bridge")
    options[body["NetworkID"]] = body["Options"]["com.docker.network.generic"]
    for data in body["IPv4Data"]:
        if gateway := data.get("Gateway"):
            gateways[body["NetworkID"]] = gateway.partition("/")[0]
            ip("addr", "add", gateway, "dev", bridge)
    ip("link", "set", bridge, "up")
    return {}


def delete_network(body: Body) -> Body:
    ip("link", "delete", "lmp" + body["NetworkID"][:8])
    return {}


def create_endpoint(body: Body) -> Body:
    wished = body["Interface"]
    addresses[body["EndpointID"]] = wished["Address"].partition("/")[0]
    if wished.get("MacAddress"):
        return {}
    number = int(ip_interface(wished["Address"]))
    return {"Interface": {"MacAddress": "02:11:" + number.to_bytes(4, "big").hex(":")}}


def join(body: Body) -> Body:
    ours, theirs = "lmq" + body["EndpointID"][:8], "lmr" + body["EndpointID"][:8]
    ip("link", "add", ours, "type", "veth", "peer", "name", theirs)
    ip("link", "set", ours, "master", "lmp" + body["NetworkID"][:8], "up")
    wished = options.get(body["NetworkID"], {})
    return {
        "InterfaceName": {"SrcName": theirs, "DstPrefix": "eth"},
        "Gateway": "" if wished.get("gateway") == "off" else gateways.get(body["NetworkID"], ""),
        "StaticRoutes": [{"Destination": "192.0.2.0/24", "RouteType": 1, "NextHop": ""}],
        "DisableGatewayService": wished.get("service") == "off",
    }


def leave(body: Body) -> Body:
    subprocess.run(["ip", "link", "delete", "lmq" + body["EndpointID"][:8]], capture_output=True, check=False)
    return {}


def program(body: Body) -> Body:
    told[body["EndpointID"]] = body["Options"]["com.docker.network.portmap"]
    for port in told[body["EndpointID"]]:
        server = socket.create_server(("", port["HostPort"]))
        published.setdefault(body["EndpointID"], []).append(server)
        inside = (addresses[body["EndpointID"]], port["Port"])
        threading.Thread(target=relay, args=(server, inside), daemon=True).start()
    return {}


def relay(server: socket.socket, inside: tuple[str, int]) -> None:
    """Carry what the container says first to whoever connects, until nobody listens any more."""
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return
        with client, suppress(OSError), socket.create_connection(inside) as upstream:
            while piece := upstream.recv(1 << 16):
                client.sendall(piece)


def revoke(body: Body) -> Body:
    told.pop(body["EndpointID"], None)
    for server in published.pop(body["EndpointID"], []):
        server.shutdown(socket.SHUT_RDWR)  # it would go on to accept else
        server.close()
    return {}


# addresses

pools: dict[str, set[str]] = {}
"""By an id that another run of this program does not know; what is behind the colon is the subnet."""


def request_pool(body: Body) -> Body:
    pool = body["Pool"] or f"10.201.{len(pools)}.0/24"
    pools.setdefault(f"{os.getpid()}:{pool}", set())
    return {"PoolID": f"{os.getpid()}:{pool}", "Pool": pool, "Data": {}}


def request_address(body: Body) -> Body:
    network, taken = ip_network(body["PoolID"].partition(":")[2]), pools[body["PoolID"]]
    hosts = (str(host) for host in network.hosts())
    # from 100 on, so that nobody takes them for the engine's own
    address = body["Address"] or next(host for n, host in enumerate(hosts) if n >= 99 and host not in taken)
    if address in taken:
        raise ValueError("address already in use")
    taken.add(address)
    return {"Address": f"{address}/{network.prefixlen}", "Data": {}}


def release_address(body: Body) -> Body:
    pools[body["PoolID"]].discard(body["Address"])
    return {}


def release_pool(body: Body) -> Body:
    pools.pop(body["PoolID"])
    return {}


# logs

logs: dict[str, bytes] = {}
"""Of each container, the entries as they came."""


def start_logging(body: Body) -> Body:
    container = body["Info"]["ContainerID"]
    # as plugins do, which wait here for who writes
    fifo = open(body["File"], "rb", buffering=0)  # noqa: SIM115 the thread closes it

    def read() -> None:
        with fifo:
            while True:
                head = fifo.read(4)
                if len(head) < 4:
                    return
                size, entry = int.from_bytes(head, "big"), b""
                while len(entry) < size:
                    entry += fifo.read(size - len(entry))
                logs[container] = logs.get(container, b"") + head + entry

    threading.Thread(target=read, daemon=True).start()
    return {}


# authorization


def authorize(body: Body) -> Body:
    """Nobody may do what has "forbidden" in its body or address, or in what it is told."""
    seen = body["RequestUri"].encode()
    for name in ("RequestBody", "ResponseBody"):
        seen += b64decode(body.get(name) or "")
    return {"Allow": b"forbidden" not in seen, "Msg": "it is forbidden"}


METHODS = {
    "Plugin.Activate": lambda body: {"Implements": IMPLEMENTS},
    "VolumeDriver.Capabilities": lambda body: {"Capabilities": {"Scope": "global"}},
    "VolumeDriver.Create": create_volume,
    "VolumeDriver.Remove": remove_volume,
    "VolumeDriver.Mount": mount_volume,
    "VolumeDriver.Unmount": unmount_volume,
    "VolumeDriver.Path": lambda body: {"Mountpoint": volume_of(body["Name"])["Mountpoint"]},
    "VolumeDriver.Get": get_volume,
    "VolumeDriver.List": lambda body: {"Volumes": [volume_of(name) for name in volumes]},
    "NetworkDriver.GetCapabilities": lambda body: {"Scope": "local"},
    "NetworkDriver.CreateNetwork": create_network,
    "NetworkDriver.DeleteNetwork": delete_network,
    "NetworkDriver.CreateEndpoint": create_endpoint,
    "NetworkDriver.DeleteEndpoint": lambda body: {},
    "NetworkDriver.EndpointOperInfo": lambda body: {
        "Value": {"com.docker.network.portmap": told.get(body["EndpointID"], [])}
    },
    "NetworkDriver.Join": join,
    "NetworkDriver.Leave": leave,
    "NetworkDriver.ProgramExternalConnectivity": program,
    "NetworkDriver.RevokeExternalConnectivity": revoke,
    "IpamDriver.GetCapabilities": lambda body: {},
    "IpamDriver.GetDefaultAddressSpaces": lambda body: {
        "LocalDefaultAddressSpace": "here",
        "GlobalDefaultAddressSpace": "everywhere",
    },
    "IpamDriver.RequestPool": request_pool,
    "IpamDriver.ReleasePool": release_pool,
    "IpamDriver.RequestAddress": request_address,
    "IpamDriver.ReleaseAddress": release_address,
    "LogDriver.Capabilities": lambda body: {"Cap": {"ReadLogs": True}},
    "LogDriver.StartLogging": start_logging,
    "LogDriver.StopLogging": lambda body: {},
    "AuthZPlugin.AuthZReq": authorize,
    "AuthZPlugin.AuthZRes": authorize,
}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        method = self.path[1:]
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.loads(raw) if raw else {}
        with beside("calls").open("ab", buffering=0) as calls:  # one write: lines of others do not mix in
            calls.write(json.dumps([method, body]).encode() + b"\n")
        if self.misbehaves(method, raw):
            return
        if method == "LogDriver.ReadLogs":
            self.answer(200, logs.get(body["Info"]["ContainerID"], b""))
        elif method not in METHODS:
            self.answer(404, b"no such method")
        else:
            try:
                self.answer(200, json.dumps(METHODS[method](body)).encode())
            except Exception as error:
                text = str(error.args[0]) if isinstance(error, KeyError) else str(error)
                self.answer(200, json.dumps({"Err": text, "Error": text}).encode())

    def misbehaves(self, method: str, raw: bytes) -> bool:
        try:
            wrong = json.loads(beside("misbehave").read_text())
        except OSError:
            return False
        how = wrong.get(method) if wrong.get("when", "").encode() in raw else None
        if how == "hang":
            time.sleep(3600)
        elif how == "crash":
            os._exit(3)
        elif how == "nonsense":
            self.answer(200, b'["what", {"is": "this')
        elif how == "types":
            self.answer(
                200, b'{"Err": 7, "Error": ["x"], "Interface": "eth0", "Mountpoint": {}, "Address": 1}'
            )
        elif how == "huge":
            self.answer(200, b'{"Err": "' + b"x" * (17 << 20) + b'"}')
        elif isinstance(how, dict):
            self.answer(200, json.dumps(how).encode())
        elif how == "refuse":
            self.answer(200, json.dumps({"Err": "not today", "Error": "not today"}).encode())
        elif how == "status":
            self.answer(500, json.dumps({"Err": "broken"}).encode())
        return how is not None

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "engine"


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # the first process of a container ignores it else
    SOCKET.unlink(missing_ok=True)
    Server(str(SOCKET), Handler).serve_forever()
