"""What builds fetch from elsewhere: contexts of `remote=`, sources of ADD.

Three kinds. A *repository* is checked out by `git`, hardened (`git`). From the web comes an *archive* or the
text of a *Dockerfile* as a context, or any *file* for ADD (`web`). Which is which is in the address alone
(`addresses`). All of it has limits and ends when nothing comes any more.
"""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

from lighterman.build.remote.addresses import (
    GitAddress,
    is_git_context,
    is_git_source,
    is_url,
    parse_git_address,
)
from lighterman.build.remote.git import check_out
from lighterman.build.remote.web import Downloaded, RemoteContext, download, opened_web_context
from lighterman.content import Content, PackTree, Workers, written
from lighterman.errdefs import InvalidParameter
from lighterman.lib.effects import in_thread, to_end

__all__ = [
    "Downloaded",
    "GitAddress",
    "RemoteContext",
    "checked_out",
    "download",
    "is_git_context",
    "is_git_source",
    "is_url",
    "opened_context",
    "parse_git_address",
]


@asynccontextmanager
async def opened_context(url: str, content: Content, workers: Workers) -> AsyncIterator[RemoteContext]:
    """The context that `remote` names; a repository comes as an archive.

    Raises: InvalidParameter, Unauthorized, Forbidden, NotFound, System.
    """
    if is_git_context(url):
        async with checked_out(parse_git_address(url), content, keep_git=True) as tree:
            directory = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                async with aclosing(written(workers, PackTree(), [directory])) as chunks:
                    yield RemoteContext(chunks, is_dockerfile=False)
            finally:
                os.close(directory)
    elif is_url(url):
        async with opened_web_context(url) as context:
            yield context
    else:
        raise InvalidParameter(f"remoteURL ({url}) could not be recognized as URL")


@asynccontextmanager
async def checked_out(address: GitAddress, content: Content, *, keep_git: bool) -> AsyncIterator[Path]:
    """The files of a repository, while the block lasts; with `keep_git` its `.git`, too.

    Raises: InvalidParameter, System.
    """
    ingest = await in_thread(content.new_ingest)
    try:
        tree = await check_out(address, ingest)
        if not keep_git:
            await in_thread(_without_git, ingest)
        yield tree
    finally:
        await to_end(in_thread(content.discard, ingest))


def _without_git(root: Path) -> None:
    """Of the repository itself, and of submodules the file that names theirs."""
    shutil.rmtree(root / ".git")
    for found in root.rglob(".git"):
        if found.is_file() and not found.is_symlink():
            found.unlink()
