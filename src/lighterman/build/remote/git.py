"""Repositories, fetched by `git` as a child that trusts nothing.

No configuration but ours, no hooks, no prompts, no protocols but those of the network: a repository is
written by a stranger, and its submodules name others. The child ends with the engine, with whoever waits for
it, and when nothing has come for a while.
"""

import asyncio
import os
import resource
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from lighterman.build.remote.addresses import TRANSPORTS, GitAddress
from lighterman.errdefs import InvalidParameter, System
from lighterman.lib.effects import in_thread, to_end
from lighterman.lib.proxies import from_environment
from lighterman.linux.openat2 import IN_ROOT, openat2

LONGEST_S = 30 * 60.0
LARGEST_FILE = 8 << 30
"""Bytes of a file that git may write: what is fetched is one file, its pack."""
_SAID_MAX = 64 * 1024
_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "init.templateDir=",
    "init.defaultBranch=master",
    "credential.helper=",
    "http.lowSpeedLimit=1",
    "http.lowSpeedTime=60",
    "protocol.allow=never",
    *(f"protocol.{name}.allow=always" for name in TRANSPORTS),
    "submodule.recurse=false",
    "advice.detachedHead=false",
)
_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY")


class GitFailed(System):
    """git could not do it; the text is what it said."""


async def check_out(address: GitAddress, root: Path, *, submodules: bool = True) -> Path:
    """Fetch one commit into `root`, an empty directory; the directory that the address means.

    Raises: InvalidParameter (no such directory in it), GitFailed.
    """
    git = _Git(root)
    try:
        async with asyncio.timeout(LONGEST_S):
            await git.run("failed to init repo at {root}", "init", "--quiet")
            await git.run("failed add origin repo", "remote", "add", "origin", address.repository)
            await _fetch(git, address.ref or "HEAD")
            await _switch(git, address.ref)
            if submodules:
                update = ("submodule", "update", "--init", "--recursive", "--depth=1")
                await git.run("error initializing submodules", *update)
    except TimeoutError:
        raise GitFailed(f"error fetching: {address.repository} took more than {LONGEST_S:.0f} s") from None
    return await in_thread(_inside, root, address.directory)


async def _fetch(git: "_Git", ref: str) -> None:
    """One commit where the server can, all of its history where it can only serve files."""
    try:
        await git.run("error fetching", "fetch", "--depth", "1", "origin", "--", ref)
    except GitFailed as error:
        if "dumb http transport does not support shallow" not in str(error):
            raise
        await git.run("error fetching", "fetch", "origin", "--", ref)


async def _switch(git: "_Git", ref: str) -> None:
    """A branch is known by its name then; all else is a commit."""
    if ref:
        with suppress(GitFailed):
            await git.run(f"error checking out {ref}", "checkout", "--quiet", ref, "--")
            return
    await git.run(f"error checking out {ref}", "checkout", "--quiet", "FETCH_HEAD", "--")


def _inside(root: Path, directory: str) -> Path:
    """`directory` as a process would see it whose root is `root`: no link leads out. Blocks."""
    if not directory:
        return root
    top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = openat2(top, os.fsencode(directory), os.O_PATH | os.O_DIRECTORY, resolve=IN_ROOT)
    except NotADirectoryError:
        raise InvalidParameter(f"error setting git context, not a directory: {directory}") from None
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise InvalidParameter(f'error setting git context, "{directory}": {why}') from error
    finally:
        os.close(top)
    try:
        return Path(os.readlink(f"/proc/self/fd/{fd}"))
    finally:
        os.close(fd)


class _Git:
    """Commands in one directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def run(self, trouble: str, *arguments: str) -> None:
        """Run one command. Raises: GitFailed with `trouble` and what git has said."""
        options = [part for setting in _SETTINGS for part in ("-c", setting)]
        code, said = await _run(["git", *options, *arguments], self._root, environment(os.environ))
        if code:
            reason = f"signal: {signal.strsignal(-code)}".lower() if code < 0 else f"exit status {code}"
            raise GitFailed(f"{trouble.format(root=self._root)}: {said}: {reason}")


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """What git finds: nothing of the engine's own but the way out."""
    proxies = {name: value for name in _PROXIES if (value := from_environment(name, ours))}
    return {
        "PATH": ours.get("PATH", os.defpath),
        "HOME": "/dev/null",
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_PROTOCOL_FROM_USER": "0",
        "GIT_ALLOW_PROTOCOL": ":".join(TRANSPORTS),
        "GIT_LFS_SKIP_SMUDGE": "1",
        **{name.lower(): value for name, value in proxies.items()},
    }


async def _run(command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> tuple[int, str]:
    """The exit code and what was said, the end of it if it was much. Raises: GitFailed: no such program."""
    try:
        process = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig=KILL", *command),
            cwd=cwd,
            env=dict(env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise GitFailed(f'exec: "{error.filename}": executable file not found in $PATH') from error
    try:
        with suppress(ProcessLookupError):
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
        said = await _read(process)
        return await process.wait(), said
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):  # its helpers are of its group
                os.killpg(process.pid, signal.SIGKILL)
            await to_end(process.wait())


async def _read(process: asyncio.subprocess.Process) -> str:
    assert process.stdout is not None
    said = b""
    while piece := await process.stdout.read(_SAID_MAX):
        said = (said + piece)[-_SAID_MAX:]
    return said.decode(errors="replace").strip()
