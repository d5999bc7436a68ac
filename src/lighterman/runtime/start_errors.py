"""What OCI runtimes say when they fail, in the words that Docker's clients know.

The docker CLI tells 126 and 127 from 125 by the text of the answer, and knows runc's texts only. Measured
with crun 1.8.1 and runc 1.1.5; a text that is not known passes through.
"""

import re
from collections.abc import Sequence

import msgspec

from lighterman.runtime.outcomes import NotStartable, StartBroke, StartFailed

_RUN = "failed to create shim task: OCI runtime create failed: runc create failed: "
_EXEC = "OCI runtime exec failed: exec failed: "
_START = "unable to start container process: "
_INIT = _START + "error during container init: "
_LOG = "failed to initialize logging driver: "
_CRUN_GUESS = "the memory limit could be too low: "
"""crun 1.8 puts this before every error of a container that has a memory limit, whatever its cause."""
_RLIMITS = {
    "RLIMIT_CPU": 0, "RLIMIT_FSIZE": 1, "RLIMIT_DATA": 2, "RLIMIT_STACK": 3, "RLIMIT_CORE": 4,
    "RLIMIT_RSS": 5, "RLIMIT_NPROC": 6, "RLIMIT_NOFILE": 7, "RLIMIT_MEMLOCK": 8, "RLIMIT_AS": 9,
    "RLIMIT_LOCKS": 10, "RLIMIT_SIGPENDING": 11, "RLIMIT_MSGQUEUE": 12, "RLIMIT_NICE": 13,
    "RLIMIT_RTPRIO": 14, "RLIMIT_RTTIME": 15,
}  # fmt: skip

_CRUN: tuple[tuple[str, str], ...] = (
    (r"chdir `(?P<dir>.*)`: Not a directory", _INIT + "mkdir {dir}: not a directory"),
    (r"setrlimit `(?P<limit>\w+)`: (?P<why>.+)", _INIT + "error setting rlimits for ready process: "
     "error setting rlimit type {number}: {why}"),
    (r"capset: (?P<why>.+)", _START + "unable to apply caps: {why}"),
    (r"error stat'ing file `(?P<source>.*)`: (?P<why>.+)",
     _INIT + 'error mounting "{source}" to rootfs: stat {source}: {why}'),
    (r"the sysctl `(?P<key>.*)` is not namespaced", 'sysctl "{key}" is not in a separate kernel namespace'),
    (r"\[Errno \d+\] (?P<why>.+): '(?P<program>/.*)'", "fork/exec {program}: {why}"),  # no runtime at all
    (r"sethostname: (?P<why>.+)", _INIT + "sethostname: {why}"),
    (r"mount `tmpfs` to `/?(?P<place>.*)`: (?P<why>.+)",
     _INIT + 'error mounting "tmpfs" to rootfs at "/{place}": {why}'),
    (r"(?P<verb>open|write)( to)? (?P<sysctl>/proc/sys/.*): (?P<why>.+)", _INIT + "{verb} {sysctl}: {why}"),
)  # fmt: skip
"""crun's text -> runc's, behind the prefix; `why` is lower-cased as Go has it."""


_REFUSED = re.compile(
    r"(open|write) /proc/sys/.*: (no such file|invalid|numerical)"
    r'|error mounting "tmpfs" to rootfs .*: (invalid|numerical)'
)
"""What was wished is none of the kernel's sysctls, or no value of it: no failure of ours."""
_CRUN_EXEC = (
    (r"chdir `(?P<dir>.*)`: (?P<why>.+)", _START + 'chdir to cwd ("{dir}") set in config.json failed: {why}'),
)
"""The same where a process that is added has words of its own."""


class _LogLine(msgspec.Struct):
    msg: str = ""
    level: str = ""


def last_error(log: bytes) -> str:
    """The last error of an OCI runtime's `--log-format json` log; "" if it has none."""
    for line in reversed(log.splitlines()):
        try:
            entry = msgspec.json.decode(line, type=_LogLine)
        except msgspec.DecodeError:
            continue
        if entry.level in ("error", "fatal"):
            return entry.msg
    return ""


def start_failed(text: str, args: Sequence[str], *, exec: bool) -> StartFailed:
    """The failure to raise for an OCI runtime's `text`; `args` of the process that did not start."""
    name = args[0] if args else ""
    if text.startswith(_LOG):
        return StartBroke(text, 128)
    text = text.removeprefix(_CRUN_GUESS)
    prefix = _EXEC if exec else _RUN
    if _is_missing(text):
        why = (
            f"stat {name}: no such file or directory" if "/" in name else "executable file not found in $PATH"
        )
        return NotStartable(f'{prefix}{_START}exec: "{name}": {why}: unknown', 127)
    if _is_not_executable(text):
        return NotStartable(f'{prefix}{_START}exec: "{name}": permission denied: unknown', 126)
    words = _in_runc_words(text, _CRUN_EXEC + _CRUN if exec else _CRUN)
    kind = NotStartable if _REFUSED.search(words) else StartBroke
    return kind(f"{prefix}{words}: unknown", 128)


def _is_missing(text: str) -> bool:
    crun = text.startswith("executable file `") and "not found" in text
    runc = 'exec: "' in text and ("executable file not found" in text or "no such file or directory" in text)
    return crun or runc


def _is_not_executable(text: str) -> bool:
    crun = text.startswith("open executable: ") or re.match(
        r"exec(ve)?( container process)? `.*`: Permission", text
    )
    runc = 'exec: "' in text and ("permission denied" in text or "is a directory" in text)
    return bool(crun) or runc


def _in_runc_words(text: str, table: Sequence[tuple[str, str]]) -> str:
    for pattern, words in table:
        if match := re.match(pattern, text):
            parts = match.groupdict()
            if "why" in parts:
                parts["why"] = parts["why"][:1].lower() + parts["why"][1:]
            if "limit" in parts:
                parts["number"] = str(_RLIMITS.get(parts["limit"], parts["limit"]))
            return words.format(**parts)
    for known in ("runc create failed: ", "exec failed: "):
        text = text.removeprefix(known)
    return text if text.startswith(_START) or text.startswith("sysctl ") else _START + text
