"""`lighterman import-docker`: the images and volumes of dockerd's data root, into ours.

`docker_root` reads what dockerd has left and decides nothing; `work` takes it over. Neither dockerd nor an
engine of ours runs meanwhile: the locks of both roots are held. What was taken over stays with dockerd too:
one can go back. Containers and networks are not taken: they are made anew from what they were made of.
"""

import asyncio
import os
from contextlib import ExitStack
from pathlib import Path

import click

from lighterman.daemon.import_docker.docker_root import DockerRoot
from lighterman.daemon.process import claim_data_root, held_alone, prepare_process
from lighterman.errdefs import System

__all__ = ["DockerRoot", "main"]


def main(source: Path, data_root: Path, *, dry_run: bool) -> int:
    """Take all over, or only tell what there is. 0 if all that can be taken is here now, else 1.

    Raises: System: nothing was begun.
    """
    docker = DockerRoot(source.absolute())
    if dry_run:
        return _tell(docker)
    from lighterman.daemon.import_docker.work import take_over

    if os.geteuid() != 0:
        raise System("the engine needs root")
    prepare_process()
    with ExitStack() as held:
        held.enter_context(docker.held())
        claim_data_root(data_root)
        held.enter_context(held_alone(data_root / "lock", f"data root {data_root}"))
        failed = asyncio.run(take_over(docker, data_root))
    _tell_what_stays(docker)
    return 1 if failed else 0


def _tell(docker: DockerRoot) -> int:
    for image in docker.images():
        click.echo(f"image {image.title}  {image.size_bytes / 1e6:.1f} MB  {image.fault}".rstrip())
    for volume in docker.volumes():
        click.echo(f"volume {volume.name}  {volume.size_bytes() / 1e6:.1f} MB  {volume.fault}".rstrip())
    _tell_what_stays(docker)
    return 0


def _tell_what_stays(docker: DockerRoot) -> None:
    if not docker.has_images():
        click.echo(
            "there are no images of overlay2: those of a containerd image store come by docker save and load"
        )
    if containers := docker.containers():
        click.echo(f"{containers} containers stay with dockerd: make them anew, as by docker compose up")
