"""Dockerfiles that both engines build of the same contexts: each instruction, odd quoting, each error.

`Case` says what is sent; a case that fails is compared by its error. RUN costs dockerd half a second, so
where files are enough they come from COPY.
"""

import gzip
import json
from collections.abc import Mapping
from urllib.parse import urlencode

from msgspec import Struct, field
from tests.differential.contexts import Dir, Fifo, File, HardLink, Link, Member, context
from tests.differential.site import SITE

B = "FROM busybox\n"


class Case(Struct, frozen=True):
    """One build."""

    dockerfile: str | bytes | None
    """None: there is none in the context."""
    files: Mapping[str, Member] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    name: str = "Dockerfile"
    unordered: bool = False
    """Whether stages may be told in any order."""
    links: bool = False
    """Whether directories with links are copied: the digest of one is that of where it leads, and dockerd's
    that of what is there, so that it goes on using a cache when a link has come to lead elsewhere."""

    def archive(self) -> bytes:
        """The context to send."""
        text = self.dockerfile
        own = {} if text is None else {self.name: File(text.encode() if isinstance(text, str) else text)}
        return context({**own, **self.files})

    def path(self) -> str:
        """Where to send it: nothing is taken from a cache, and nothing is left."""
        return "/build?" + urlencode({"forcerm": "1", "nocache": "1", **self.query})


TREE: Mapping[str, Member] = {
    "a": "a\n",
    "b.txt": "b\n",
    "c.txt": File(b"c\n", 0o600, 7, 8),
    "x y": "spaces\n",
    "é[1]": "odd\n",
    "d": Dir(0o750, 5, 6),
    "d/run": File(b"#!/bin/sh\n", 0o4755),
    "d/e": Dir(0o1777),
    "d/e/f": HardLink("a"),
    "d/up": Link("../a"),
    "d/away": Link("/etc/passwd"),
    "empty": Dir(0o700),
    "to-a": Link("a"),
    "to-d": Link("d"),
    "capable": File(b"x", 0o755, xattrs={"user.kept": "no"}),
}
PLAIN_TAR = context({"in/": Dir(0o711, 3, 4), "in/f": File(b"packed\n", 0o640, 3, 4), "in/l": Link("f")})

CONFIGURATIONS: dict[str, Case] = {
    "variables": Case(
        B + 'ENV A=1 B="x y" C=\'$A\' D=a\\ b E="q\\"q" F=$A\nENV G=$A H=${A}b I=${N:-d} J=${A:+s} '
        "K=\\$A L='\"' M=\"'$A'\" O=${N:+s} P=${N}\nENV A=2 Q=$A"
    ),
    "a variable in the old form": Case(B + 'ENV A the  $PATH "b"  value  \nENV B a=b c'),
    "variables over lines": Case(B + "ENV A=1 \\\n    B=2 \\\n# not this\n  C='3 \\\n 4'\n"),
    "a variable that takes itself": Case(B + "ENV PATH=/x:$PATH A=$A\nENV A=$A:1"),
    "labels": Case(B + 'LABEL a=b "c d"="e f" g.h=\'i\'\nLABEL j the k\nLABEL a=2 l="m \\\n n"'),
    "labels of variables": Case(B + "ENV A=1\nLABEL $A=$A b='$A'"),
    "labels of the request": Case(B + "LABEL a=1", query={"labels": json.dumps({"b": "$X", "a": "2"})}),
    "a command for the shell": Case(B + "CMD echo \"$PATH\"  'x'  && true"),
    "a command as a list": Case(B + 'CMD ["echo", "a b", "\\t\\"\\u00e9"]'),
    "a command that is nearly a list": Case(B + "CMD ['echo']\n"),
    "a list with something behind it": Case(B + 'CMD ["echo"] $X\n'),
    "an empty command": Case(B + "CMD []"),
    "no command": Case(B + "CMD"),
    "an entrypoint takes the command away": Case(B + "ENTRYPOINT echo $A"),
    "an entrypoint leaves its own command": Case(B + 'CMD ["b"]\nENTRYPOINT ["a"]'),
    "an empty entrypoint": Case(B + 'ENTRYPOINT ["a"]\nENTRYPOINT []'),
    "another shell": Case(B + 'SHELL ["/bin/ash", "-e", "-c"]\nCMD echo\nENTRYPOINT x y'),
    "ports": Case(B + 'ENV P="9000 9001/udp"\nEXPOSE 80 53/UDP 8000-8002/tcp $P\nEXPOSE 127.0.0.1:70:70'),
    "volumes": Case(B + 'ENV A=/v\nVOLUME /b $A\nVOLUME ["/c d", "/e"]\nVOLUME "/q"'),
    "users": Case(B + "ENV U=app\nUSER $U:0\nUSER ${N:-1}"),
    "working directories": Case(B + 'ENV A=c\nWORKDIR a\nWORKDIR b/../$A\nWORKDIR "d e"\nWORKDIR /f/../g/'),
    "a working directory of another user": Case(B + "USER app\nWORKDIR /home/x/y\nWORKDIR /tmp/z"),
    "signals": Case(B + "STOPSIGNAL SIGKILL\nENV S=9\nSTOPSIGNAL $S"),
    "a health check": Case(
        B + 'HEALTHCHECK --interval=5m --timeout=3s --retries=3 CMD curl -f "http://x" || exit 1'
    ),
    "a health check as a list": Case(B + 'HEALTHCHECK --start-period=1h1s CMD ["a", "b"]'),
    "another health check": Case(B + "HEALTHCHECK CMD a\nHEALTHCHECK cmd b\nHEALTHCHECK NONE"),
    "triggers that are kept": Case(B + "ONBUILD   RUN echo $A\nonbuild COPY . /x\nONBUILD ENV A=1"),
    "triggers that are pulled": Case(
        "FROM busybox AS base\nONBUILD ENV A=1\nONBUILD COPY a /from/\nONBUILD WORKDIR /w\n"
        "FROM base\nENV B=$A",
        {"a": "a"},
    ),
    "a maintainer": Case(B + "MAINTAINER  Me <me@x>\nENV A=1"),
    "arguments": Case(
        "ARG T=latest\nARG N\nFROM busybox:$T\nARG T\nARG A=1 B C=$A\n"
        "ENV D=$A E=$B F=$C G=$T H=$N\nARG D\nENV I=$D",
        query={"buildargs": json.dumps({"B": "2", "A": "9", "D": "no"})},
    ),
    "arguments that are nothing": Case(
        B + "ARG A=x\nARG B=y\nENV C=$A D=$B", query={"buildargs": json.dumps({"A": None, "B": ""})}
    ),
    "arguments end with their stage": Case(
        "FROM busybox AS a\nARG X=1\nENV Y=$X\nFROM a\nENV Z=$X", query={"buildargs": json.dumps({"X": "2"})}
    ),
    "an argument that nobody takes": Case(B + "ENV A=1", query={"buildargs": json.dumps({"X": "2"})}),
    "odd lines": Case(
        b"\xef\xbb\xbf# syntax=docker/dockerfile:1\r\n\r\n# comment\r\nfrom busybox\r\n"
        b"  env A=1\r\n\tEnV B \\\r\n\r\n  2\r\n"
    ),
    "another escape": Case('# escape=`\nFROM busybox\nENV A=C:\\x B=a` b C=`$A D="`"" `\n E=1\n'),
    "from nothing": Case("FROM scratch\nENV A=1\nLABEL a=b"),
    "from nothing with files": Case('FROM scratch\nCOPY a b.txt /\nWORKDIR /w\nCMD ["/a"]', TREE),
    "another name": Case(B + "ENV A=1", name="sub/My.file", query={"dockerfile": "sub/My.file"}),
    "a name in small letters": Case(B + "ENV A=1", name="dockerfile"),
}

COPIES: dict[str, Case] = {
    "files to a file and to directories": Case(
        B + "COPY a /new/dir/file\nCOPY a /etc\nCOPY a b.txt /n/\nADD a /m", TREE
    ),
    "modes and owners": Case(B + "COPY c.txt capable /x/\nCOPY d /d", TREE, links=True),
    "a directory is its content": Case(B + "COPY d /tmp\nCOPY empty /e/\nCOPY d/ /root/", TREE, links=True),
    "everything": Case(B + "COPY . /all/", TREE, links=True),
    "wildcards": Case(
        B + "COPY *.txt /t/\nCOPY ? /q/\nCOPY d/*u* /r/\nCOPY x* /s\nCOPY [ab]* /u/", TREE, links=True
    ),
    "names with spaces": Case(B + 'COPY ["x y", "é[[]1]", "/o dd/"]', TREE),
    "a variable in names": Case(B + "ENV F=b.txt D=/to\nCOPY $F ${D}/$F.$F", TREE),
    "from the working directory": Case(B + "WORKDIR /w\nCOPY a .\nCOPY a sub/\nCOPY a ../v", TREE),
    "links": Case(
        B + "COPY to-a /l1\nCOPY to-d /l2\nCOPY d/up d/away /l3/",
        {**TREE, "etc": Dir(), "etc/passwd": "mine"},
        links=True,
    ),
    "into a directory behind a link": Case(
        B + "COPY links /\nCOPY a /ln/a\nCOPY a /ln2",
        {**TREE, "links": Dir(), "links/ln": Link("/etc"), "links/ln2": Link("tmp/")},
        links=True,
    ),
    "owners": Case(
        B + "COPY --chown=app:extra a /n/m/\nCOPY --chown=5 d /d\nCOPY --chown=7:8 a b.txt /etc/",
        TREE,
        links=True,
    ),
    "an owner of variables": Case(B + "ENV U=app\nCOPY --chown=$U:$U a /a", TREE),
    "archives": Case(
        B + "ADD p.tar /p/\nADD p.tgz /q\nADD p.tgz /etc/\nCOPY p.tar /r/",
        {"p.tar": PLAIN_TAR, "p.tgz": gzip.compress(PLAIN_TAR, mtime=0)},
    ),
    "what only looks like an archive": Case(
        B + "ADD x.tar.gz y.gz /x/", {"x.tar.gz": "none", "y.gz": gzip.compress(b"one file", mtime=0)}
    ),
    "an archive over files": Case(
        B + "ADD p.tar /\nADD --chown=1:2 p.tar /o",
        {"p.tar": context({"etc/": Dir(0o700), "etc/passwd": Link("group"), "new": "n"})},
    ),
    "hard links and pipes": Case(
        B + "COPY . /h", {"one": "1", "two": HardLink("one"), "pipe": Fifo()}, links=True
    ),
    "a file over a file": Case(B + "COPY a /bin/busybox2\nCOPY b.txt /bin/busybox2\nCOPY a /etc/group", TREE),
    "from another stage": Case(
        "FROM busybox AS one\nCOPY a d/run /s/\nCOPY --chown=3:4 d /s/d\n"
        "FROM scratch AS Two\nCOPY --from=ONE /s /t\n"
        "FROM busybox\nCOPY --from=0 /s/a /x\nCOPY --from=two /t/. /y/\nCOPY --from=busybox /etc/pass* /z/\n"
        "COPY --from=1 --chown=9 /t/a /w",
        TREE,
        unordered=True,
        links=True,
    ),
    "only up to the target": Case(
        "FROM busybox AS a\nENV A=1\nFROM busybox AS b\nENV B=1\nFROM b\nENV C=1",
        query={"target": "B"},
        unordered=True,
    ),
    "ignored files": Case(B + "COPY . /i/", {"x": "1", ".dockerignore": "Docker*\n.dockerignore\n"}),
    "files of the ignore file that are kept": Case(B + "COPY . /i/", {"x": "1", ".dockerignore": "x\n"}),
}

RUNS: dict[str, Case] = {
    "what a program makes": Case(
        B + "RUN mkdir -p /m/n && echo x > /m/f && chmod 4711 /m/f && chown app:extra /m/f "
        "&& ln -s f /m/l && ln /m/f /m/h "
        "&& mkfifo /m/p && mknod /m/z c 1 3 && chmod 1777 /m/n && rm /etc/group && rm -r /home && mkdir /home"
    ),
    "how a program is run": Case(
        B + 'ENV A=1\nARG B=2\nWORKDIR /w\nUSER app\nSHELL ["/bin/sh", "-ec"]\n'
        'RUN echo $A $B "$PATH" $HOME $(id -u) $(pwd) $0 > /tmp/said; echo out\n'
        'RUN ["sh", "-c", "echo $A > /tmp/list; echo err >&2"]',
        query={"buildargs": json.dumps({"B": "3", "HTTP_PROXY": "http://p"})},
    ),
    "what is in a volume is lost": Case(
        B + "COPY a /v/a\nVOLUME /v\nRUN echo x > /v/b; echo y > /v/a\nCOPY b.txt /v/c", TREE
    ),
    "a step that fails": Case(B + "ENV A=1\nRUN echo said; exit 7\nENV B=1"),
    "a program that is none": Case(B + 'RUN ["/nothing", "x"]'),
    "an argument in the history": Case(B + "ARG B=2\nARG A=1\nENV A=3\nRUN true"),
}

ERRORS: dict[str, Case] = {
    "no Dockerfile": Case(None, {"a": "1"}),
    "no such Dockerfile": Case(B, query={"dockerfile": "other"}),
    "a Dockerfile outside": Case(B, query={"dockerfile": "../Dockerfile"}),
    "a file that is missing": Case(B + "COPY nothing /x"),
    "a file that is ignored": Case(B + "COPY .dockerignore /x", {".dockerignore": ".dockerignore"}),
    "a wildcard for nothing": Case(B + "COPY no* /x"),
    "a file outside": Case(B + "COPY ../a /x", TREE),
    "many files to one": Case(B + "COPY a b.txt /x", TREE),
    "a wildcard for many to one": Case(B + "COPY *.txt /x", TREE),
    "a user who is nobody": Case(B + "COPY --chown=nobodyelse a /x", TREE),
    "a group that is none": Case(B + "COPY --chown=app:none a /x", TREE),
    "a stage that is none": Case(B + "COPY --from=5 a /x", TREE),
    "the stage itself": Case(B + "COPY --from=0 a /x", TREE),
    "a name that was taken": Case("FROM busybox AS a\nFROM busybox AS A"),
    "a target that is none": Case(B, query={"target": "x"}),
    "no name of an image": Case("FROM ${N}"),
    "no image of this name": Case("FROM Not_A_Name"),
    "arguments that are no JSON": Case(B, query={"buildargs": "x"}),
    "labels that are no JSON": Case(B, query={"labels": "["}),
    "a tag that is none": Case(B, query={"t": "Not/A:tag"}),
    "a variable that is wanted": Case(B + "ENV A=${N:?give it}"),
    "a signal that is none": Case(B + "STOPSIGNAL NOPE"),
    "a port that is none": Case(B + "EXPOSE 99999"),
    "an empty volume": Case(B + "VOLUME $N"),
    "an empty working directory": Case(B + "WORKDIR $N"),
    "a trigger that fails": Case("FROM busybox AS a\nONBUILD COPY nothing /\nFROM a"),
}

SAID = """
FROM busybox|FROM a b|FROM a AS 1|FROM --foo=x a|FROM a AS b c
ENV|ENV A|ENV A=1 B|ENV =x|LABEL|LABEL a|LABEL =b|ARG|ARG =x|EXPOSE|VOLUME|VOLUME [1]|USER|USER a b|WORKDIR
SHELL bash|SHELL []|STOPSIGNAL|MAINTAINER|CMD [1]|RUN ["a", 1]|ENTRYPOINT [null]|FOO|foo bar
ONBUILD|ONBUILD FROM x|ONBUILD ONBUILD RUN x|ONBUILD MAINTAINER x|ONBUILD ENV A
HEALTHCHECK|HEALTHCHECK x|HEALTHCHECK NONE x|HEALTHCHECK CMD|HEALTHCHECK --x=1 CMD a
HEALTHCHECK --interval=1 CMD a|HEALTHCHECK --interval=1us CMD a|HEALTHCHECK --retries=0 CMD a
HEALTHCHECK --retries=x CMD a|HEALTHCHECK --timeout CMD a|HEALTHCHECK --timeout=1s --timeout=2s CMD a
COPY|COPY a|ADD a|COPY --x=1 a b|COPY --from a b|COPY --chown=1 --chown=2 a b|COPY [1] a|ADD --from=x a b
ARG --x=1 A|STOPSIGNAL --x=1 9|HEALTHCHECK --interval=5s NONE|EXPOSE 80-82-90
RUN --mount=type=x a|RUN --mount=x a|RUN --mount=a=b a|RUN --mount=type=bind,mode=1 a|RUN --network=host a
"""
"""Instructions, most of which are refused before anything is built."""

PARSED: dict[str, Case] = {
    line: Case(line if line.startswith("FROM") else f"{B}{line}")
    for row in SAID.strip().splitlines()
    for line in row.split("|")
}
PARSED |= {
    "an empty file": Case(""),
    "only a comment": Case("# nothing\n"),
    "no stage": Case("ENV A=1\n"),
    "an escape that is none": Case("# escape=x\nFROM busybox"),
    "a directive twice": Case("# escape=`\n# escape=`\nFROM busybox"),
    "a line that is too long": Case(f"{B}ENV A={'x' * 70_000}"),
}

CASES = {**CONFIGURATIONS, **COPIES, **RUNS, **ERRORS}


def again(dockerfile: str, files: Mapping[str, Member] | None = None, **arguments: str) -> Case:
    """A build that may take from the cache."""
    return Case(f"{B}{dockerfile}", files or {}, {"nocache": "0", "buildargs": json.dumps(arguments)})


CHANGES: dict[str, tuple[Case, Case]] = {
    "nothing": (
        again("ENV A=1\nCOPY a /\nRUN true", {"a": "1"}),
        again("ENV A=1\nCOPY a /\nRUN true", {"a": "1"}),
    ),
    "a file's content": (again("COPY a /x1\nENV B=1", {"a": "1"}), again("COPY a /x1\nENV B=1", {"a": "2"})),
    "a file's mode": (
        again("COPY a /x2\nENV B=1", {"a": "1"}),
        again("COPY a /x2\nENV B=1", {"a": File(b"1", 0o755)}),
    ),
    "a file's owner": (
        again("COPY a /x3\nENV B=1", {"a": "1"}),
        again("COPY a /x3\nENV B=1", {"a": File(b"1", uid=5)}),
    ),
    "a file that is not copied": (
        again("COPY a /x4\nENV B=1", {"a": "1"}),
        again("COPY a /x4\nENV B=1", {"a": "1", "b": "2"}),
    ),
    "a name in a directory": (
        again("COPY d /x5", {"d": Dir(), "d/a": "1"}),
        again("COPY d /x5", {"d": Dir(), "d/b": "1"}),
    ),
    "the order of lines": (again("ENV A=6\nENV B=6\nENV C=6"), again("ENV B=6\nENV A=6\nENV C=6")),
    "spaces": (again("ENV   A=7\nLABEL a=b"), again("env A=7\nLABEL  a=b")),
    "an argument that is used": (
        again("ARG A=8\nRUN true\nENV B=1", A="x"),
        again("ARG A=8\nRUN true\nENV B=1", A="y"),
    ),
    "an argument that is declared later": (
        again("ENV B=9\nRUN true\nARG A", A="x"),
        again("ENV B=9\nRUN true\nARG A", A="y"),
    ),
    "a proxy": (
        again("ENV B=10\nRUN true", HTTP_PROXY="http://a"),
        again("ENV B=10\nRUN true", HTTP_PROXY="http://b"),
    ),
    "an owner": (again("COPY a /x11", {"a": "1"}), again("COPY --chown=1 a /x11", {"a": "1"})),
    "a command": (again("CMD a12\nWORKDIR /w\nUSER 1"), again("CMD a12\nWORKDIR /w\nUSER 2")),
}
"""A build, and another after it: what of the first is found again?"""


FETCHED: dict[str, Case] = {
    "files of the web": Case(f"{B}ADD {SITE}/plain /x/\nADD {SITE}/plain /y\nADD {SITE}/a%20b?c=d /z/"),
    "an archive of the web": Case(f"{B}ADD {SITE}/packed.tgz /p/"),
    "an owner of the web": Case(f"{B}ADD --chown=5:6 {SITE}/plain /n/m/"),
    "a name of the server": Case(f"{B}ADD {SITE}/named/ /x/"),
    "no name": Case(f"{B}ADD {SITE}/nameless/ /x"),
    "no name for a directory": Case(f"{B}ADD {SITE}/nameless/ /x/"),
    "a file that is not there": Case(f"{B}ADD {SITE}/none /x/"),
    "a file of the web for COPY": Case(f"{B}COPY {SITE}/plain /x/"),
    "a server that is not there": Case(f"{B}ADD http://127.0.0.1:1/a /x/"),
    **{
        f"a context: {path}": Case(None, query={"remote": f"{SITE}{path}"})
        for path in ("/Dockerfile", "/octets", "/context.tar", "/packed.tgz", "/page", "/empty", "/none")
    },
    "a context that is forbidden": Case(None, query={"remote": f"{SITE}/forbidden"}),
    "a context that is no address": Case(None, query={"remote": "ftp://x"}),
    "a context without a server": Case(None, query={"remote": "http://127.0.0.1:1/a"}),
}
