"""Where we answer otherwise than dockerd 20.10 on purpose, and why. Everything else is a failure."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """Lines of `Pair.ask` that match `line`, in scenarios whose name matches `scenario`."""

    scenario: str
    line: str
    reason: str

    def covers(self, scenario: str, line: str) -> bool:
        """Whether this difference explains a line."""
        return bool(re.fullmatch(self.scenario, scenario) and re.search(self.line, line))


DELIBERATE: tuple[Difference, ...] = (
    Difference(".*", r"\.GraphDriver\.Data\.", "our layers lie in directories of our own"),
    Difference(".*", r'\.HostConfig\.Runtime: wanted "runc", came "crun"', "crun starts a container faster"),
    Difference(
        "ping and versions",
        r"header",
        "an unknown route is answered with the versions too: clients read them everywhere",
    ),
    Difference(
        "logs",
        r"content-type",
        "the type of newer engines: 20.10 sent none, and its clients do not look",
    ),
    Difference(
        "restart, pause and their refusals",
        r"status: wanted 500, came 409",
        "a client's mistake is no error of ours",
    ),
    Difference("ports that are none", r".*", "a protocol that is none is refused, not dropped in silence"),
    Difference(
        ".*",
        r'\.SandboxKey: wanted .*, came ""',
        "a sandbox that is gone has no key; the host's is no sandbox",
    ),
    Difference(
        "a published port",
        r'(HostnamePath|LogPath): wanted ""',
        "a start that failed leaves the files of the container where the next start wants them",
    ),
    Difference(
        "lists and their filters", r"unexpected end of JSON input", "the words of another JSON decoder"
    ),
    Difference(
        "recorded",
        r'^\.: wanted "manifest\.json',
        "an archive tells no time, owner's name or type of file twice: the same images give the same bytes",
    ),
    Difference(
        "recorded",
        r"dial tcp: lookup index\.docker\.io",
        "which resolver was asked, and how it failed, is the host's affair",
    ),
    Difference("top", r"\.Processes\[0\]\[0\]", "a pid"),
)

BUILDS: tuple[Difference, ...] = (
    Difference(
        "no Dockerfile|no such Dockerfile|a Dockerfile outside|a tag that is none"
        "|a context: /page|a context: /empty|a context that is no address",
        r"status: wanted 500, came 400",
        "a client's mistake is no error of ours",
    ),
    Difference(
        "a stage that is none|the stage itself|a name that was taken|no name of an image",
        r"status: wanted 200, came 400|said: wanted",
        "what cannot be built is refused before anything is",
    ),
    Difference(
        "only up to the target", r"said: wanted", "a stage that the target does not need is not built"
    ),
    Difference(
        "ARG --x=1 A|STOPSIGNAL --x=1 9|HEALTHCHECK --interval=5s NONE|EXPOSE 80-82-90",
        r"",
        "what has no effect is refused, not passed over",
    ),
    Difference(".*that are no JSON", r"unexpected end of JSON input", "the words of another JSON decoder"),
)
"""The same for builds, whose scenarios are the names of the corpus's cases."""
