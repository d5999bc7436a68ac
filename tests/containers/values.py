"""Values that the tests of this room are made of."""

from collections.abc import Callable
from itertools import count

from msgspec import structs

from lighterman.apitypes.container import (
    ContainerConfig,
    ContainerCreateBody,
    HostConfig,
    LogConfig,
)
from lighterman.containers.life import Created
from lighterman.containers.plan_create import CreatePlan, Engine, plan_create
from lighterman.containers.state import Container
from lighterman.errdefs import NotFound
from lighterman.images import Image
from lighterman.images.image import Document
from lighterman.linux.capabilities import NAMES
from lighterman.linux.cgroup import Layout
from lighterman.linux.host import Features, Host, LimitSupport

ID = "4b0031d0e27002a4f5390128d825a4d8383296a59cab40d5fdb4eefa18640784"

HOST = Host(
    hostname="host",
    kernel="6.18.0",
    kernel_version=(6, 18),
    build="",
    os_name="Debian GNU/Linux 12 (bookworm)",
    os_version="12",
    machine="x86_64",
    architecture="amd64",
    ncpu=2,
    cpus="0-1",
    mems="0",
    mem_total_bytes=4 << 30,
    cgroup=Layout(mode="v1", v1={}, unified=None, controllers=frozenset()),
    limits=LimitSupport(
        memory_limit=True,
        swap_limit=True,
        memory_reservation=True,
        memory_swappiness=True,
        oom_kill_disable=True,
        cpu_shares=True,
        cpu_cfs=True,
        cpuset=True,
        pids_limit=True,
        devices=True,
    ),
    features=Features(seccomp=True),
    bounding_caps=frozenset(NAMES) - {"CAP_SYS_RESOURCE"},
)
"""The machine on which dockerd's answers were recorded."""

ENGINE = Engine(
    runtimes=frozenset({"crun", "runc"}),
    log=LogConfig("json-file", {}),
    data_root="/var/lib/lighterman",
    default_runtime="crun",
)


def image(**config: object) -> Image:
    return Image(
        id="sha256:" + "8" * 64,
        document=Document(config=ContainerConfig(**config)),  # type: ignore[arg-type]
        chain=("sha256:" + "2" * 64,),
        size_bytes=1984234,
        created_ns=0,
    )


IMAGE = image()


def namer() -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"anonymous{next(numbers)}"


def nobody(ref: str) -> Container:
    raise NotFound(f"No such container: {ref}")


def planned(
    host_config: HostConfig | None = None,
    *,
    image: Image = IMAGE,
    host: Host = HOST,
    peer: Callable[[str], Container] = nobody,
    **config: object,
) -> CreatePlan:
    """The plan of a `busybox true` with these wishes."""
    wish = {"image": "busybox", "cmd": ["true"], **config}
    body = ContainerCreateBody(host_config=host_config, **wish)  # type: ignore[arg-type]
    return plan_create(body, ID, image=image, host=host, engine=ENGINE, peer=peer, new_name=namer())


def container(host_config: HostConfig | None = None, **changes: object) -> Container:
    """A created container with these wishes; `changes` are fields of its row or of its configuration."""
    row = {name: changes.pop(name) for name in Container.__struct_fields__ if name in changes}
    plan = planned(host_config, **changes)  # type: ignore[arg-type]
    made = Container(
        id=ID,
        name="one",
        created_ns=1795423319 * 10**9,
        image_id="sha256:" + "8" * 64,
        config=plan.config,
        host_config=plan.host_config,
        endpoints=plan.endpoints,
        mounts=plan.mounts,
        life=Created(),
    )
    return structs.replace(made, **row)
