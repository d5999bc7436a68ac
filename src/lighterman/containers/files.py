"""The files that tell a container its name, its neighbours and its name servers. Blocks: for a thread."""

import os
from pathlib import Path

from lighterman.containers.plan_start import StartPlan
from lighterman.containers.state import Container, Settings
from lighterman.errdefs import System
from lighterman.networks import Sandbox
from lighterman.networks.files import hostname_file, hosts_file, resolv_conf

HOST_RESOLV_CONF = Path("/etc/resolv.conf")
HOST_HOSTS = Path("/etc/hosts")


def write_files(settings: Settings, plan: StartPlan, sandbox: Sandbox | None) -> str:
    """Write hosts, hostname and resolv.conf of a container that starts; its host name.

    With the network of another container, that one's files and name are used. Raises: System.
    """
    container = plan.container
    home = settings.home(container.id)
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if plan.network_of is not None:
            return plan.network_of.config.hostname
        _write(home / "hostname", hostname_file(container.config.hostname))
        _write(home / "hosts", _hosts(container, sandbox))
        _write(home / "resolv.conf", _resolv_conf(container))
    except OSError as error:
        raise System(f"cannot write the files of container {container.id}: {error}") from error
    return container.config.hostname


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    os.chmod(path, 0o644)  # the process inside reads it, whatever the umask of the engine is


def _hosts(container: Container, sandbox: Sandbox | None) -> str:
    endpoints = sandbox.endpoints if sandbox else ()
    gateway = next((each.gateway for each in endpoints if each.gateway), "")
    extra = [
        (name, gateway if address == "host-gateway" else address.strip("[]"))
        for name, _, address in (each.partition(":") for each in container.host_config.extra_hosts or ())
    ]
    if container.host_config.network_mode == "host":
        host = HOST_HOSTS.read_text() if HOST_HOSTS.exists() else ""
        return host + "".join(f"{address}\t{name}\n" for name, address in extra)
    addresses = [each.ipv4 for each in endpoints if each.ipv4]
    return hosts_file(container.config.hostname, container.config.domainname, addresses, extra)


def _resolv_conf(container: Container) -> str:
    wish = container.host_config
    host = HOST_RESOLV_CONF.read_text() if HOST_RESOLV_CONF.exists() else ""
    asked = wish.dns or wish.dns_search or wish.dns_options
    if wish.network_mode == "host" and not asked:
        return host
    return resolv_conf(host, dns=wish.dns or (), search=wish.dns_search or (), options=wish.dns_options or ())
