"""Where we answer otherwise than dockerd 20.10 on purpose, and why. Everything else is a failure."""

import re

from msgspec import Struct


class Difference(Struct, frozen=True):
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
        r"a published port|recorded GET /containers/ref_q2/json null",
        r'(HostnamePath|LogPath): wanted ""',
        "a start that failed leaves the files of the container where the next start wants them",
    ),
    Difference(
        "lists and their filters", r"unexpected end of JSON input", "the words of another JSON decoder"
    ),
    Difference(
        "recorded .*",
        r'^\.: wanted "manifest\.json',
        "an archive tells no time, owner's name or type of file twice: the same images give the same bytes",
    ),
    Difference(
        "recorded .*",
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

_REFUSED = (
    r"99999/tcp|foo=bar|\"Ulimits\"|seccomp=xx|apparmor=foo|\"Sysctls\"|\"Dns\": \[\"x\"\]"
    r"|\"(Ipc|Pid|UTS|Userns)Mode\": \"foo\"|\"Devices\"|DeviceCgroupRules|\"Hostname\": \"(bad host|x+)\""
    r"|\"MacAddress\": \"xx\"|\"FOO\"|\"Volumes\": \{\"/\""
)
"""Parts of the recorded creates that wish for what cannot be."""

RECORDED: tuple[Difference, ...] = (
    Difference(
        r"recorded (GET|PUT|POST) (/nope|/containers/json/?|/_ping|//.*|/containers//.*) null",
        r"api-version|docker-experimental|ostype",
        "an unknown route is answered with the versions too: clients read them everywhere",
    ),
    Difference(
        r"recorded (HEAD|GET) /_ping null",
        r"too much \['builder-version', 'swarm'\]",
        "a ping also tells of BuildKit (none) and of the swarm, as newer engines do",
    ),
    Difference(
        r"recorded .*/logs\?.*",
        r"content-type",
        "the type of newer engines: 20.10 sent none, and its clients do not look",
    ),
    Difference("recorded .*", r"status: wanted 500, came 40[49]", "a client's mistake is no error of ours"),
    Difference(
        r"recorded (POST /networks/create|POST /(nodes|services)/.*/update|GET /services/.*/logs).*",
        r"status: wanted (500|400), came 503|came \"This node is not a swarm manager",
        "whoever asks a node that is no manager for what managers do hears that first, and as 503",
    ),
    Difference(
        rf"recorded POST /containers/create.*({_REFUSED}).*",
        r"wanted 201, came 400|\.(Id|Warnings): missing|\.message: .* is too much",
        "what could never start, or would be passed over, is refused when the container is made",
    ),
    Difference(
        r'recorded POST /containers/create \{"Cmd": \["a"\]\}',
        r"wanted 201, came 400|\.(Id|Warnings): missing|\.message: .* is too much",
        "a container without an image would have no program to run",
    ),
    Difference(
        r"recorded GET (/containers/json.*|/info) null",
        r"^\.: wanted|\.Containers(Stopped)?: wanted",
        "what could never start, or would be passed over, is refused when the container is made",
    ),
    Difference(
        r"recorded POST /containers/create .*Image.*null.*",
        r"No command specified",
        "a body of nulls is told to be empty, as one without fields is",
    ),
    Difference(
        r"recorded GET /info null",
        r"\.(ContainerdCommit|RuncCommit|DockerRootDir|DriverStatus|ID|InitBinary|Plugins\.Log|RegistryConfig"
        r"|DefaultRuntime|Runtimes|ServerVersion)\b",
        "the facts of another engine: no containerd, crun first, drivers of logs that are here",
    ),
    Difference(
        r"recorded GET /version null",
        r"\.(ApiVersion|BuildTime|Components|GitCommit|GoVersion|MinAPIVersion|Platform\.Name|Version)\b",
        "the facts of another engine: versions 1.24 to 1.44, and no Go",
    ),
    Difference(
        r"recorded (POST /containers/ref_p2/start|GET /containers/(ref_q\d/)?json) null",
        r"Ports\b|content-type|wanted 204, came 500|port is already allocated",
        "a port that is bound need not be exposed as well; dockerd's API passes such a binding over",
    ),
    Difference(
        r"recorded POST /containers/create\?name=ref_2n .*",
        r"network endpoints",
        "lists that dockerd makes of Go's maps come in the order of chance; ours are sorted",
    ),
    Difference(
        r"recorded GET /containers/ref_e/json null",
        r"\.Mounts\[",
        "lists that dockerd makes of Go's maps come in the order of chance; ours are sorted",
    ),
    Difference(r"recorded GET /containers/.*/top.*", r"\.Processes\[", "a pid"),
    Difference(r"recorded .*filters=notjson.*", r"invalid character", "the words of another JSON decoder"),
    Difference(
        r"recorded POST /containers/create .*(Privileged|SYS_RESOURCE).*",
        r"lacks CAP_SYS_RESOURCE",
        "a capability that the host lacks is left out with a warning; dockerd's container does not start",
    ),
    Difference(
        r"recorded POST /containers/\w{64}/start null",
        r"wanted 500, came 204|content-type|unable to apply caps",
        "a capability that the host lacks is left out with a warning; dockerd's container does not start",
    ),
    Difference(
        r"recorded GET /containers/\w{64}/logs.*",
        r"CapEff",
        "a privileged container has all capabilities of the kernel, also those newer than dockerd 20.10",
    ),
    Difference(
        r"recorded POST /containers/\w{64}/start null",
        r"OCI runtime create failed",
        "what the OCI runtime says is crun's; dockerd's is runc's",
    ),
    Difference(
        r"recorded POST /containers/ref_a/unpause null",
        r"wanted 500, came 204|content-type|is not paused",
        "a signal does not resume a paused container unless it is to end it; it gets it when it is resumed",
    ),
    Difference(
        r"recorded POST /exec/.*/resize.*",
        r"timeout waiting for exec session ready",
        "an exec that was not started is told to be none at once, not after ten seconds",
    ),
    Difference(
        r"recorded GET /containers/ref_(o|rp)/json null",
        r"\.(State|NetworkSettings|RestartCount)\b",
        "what a container does by itself comes at a moment of its own",
    ),
    Difference(
        r"recorded GET /containers/.*/(archive|export).*",
        r"^\.: wanted",
        "archives of containers have the same files, with the times of their own container",
    ),
    Difference(
        r"recorded (GET|DELETE) /containers/[0-9a-f](/json)? null",
        r".",
        "ids and made-up names are chosen by chance",
    ),
    Difference(
        r"recorded (GET|DELETE) /containers/\w{64}(/json)? null",
        r".",
        "ids and made-up names are chosen by chance",
    ),
)
"""The same for the recorded requests; a scenario is the method, the path and the body."""
