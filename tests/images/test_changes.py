"""What a commit or import may change, by instructions of a Dockerfile."""

import pytest

from lighterman.apitypes.container import ContainerConfig, HealthConfig
from lighterman.errdefs import InvalidParameter
from lighterman.images.changes import changed

S = 1_000_000_000
BEFORE = ContainerConfig(cmd=["old"], env=["P=/bin", "N=a b"], labels={"l": "1"}, working_dir="/w")

CHANGES = [
    (["CMD echo hi"], {"cmd": ["/bin/sh", "-c", "echo hi"]}),
    (['SHELL ["bash","-c"]', "CMD echo hi"], {"cmd": ["bash", "-c", "echo hi"], "shell": ["bash", "-c"]}),
    (['ENTRYPOINT ["a","b"]'], {"entrypoint": ["a", "b"], "cmd": None}),
    (['CMD ["c"]', 'ENTRYPOINT ["a"]'], {"entrypoint": ["a"], "cmd": ["c"]}),
    (["ENV A=1 B='x y'", "ENV A 2"], {"env": ["P=/bin", "N=a b", "A=2", "B=x y"]}),
    (
        ["ENV P=$P:/opt Q=\"${N}!\" R='$P' S=\\$P"],
        {"env": ["P=/bin:/opt", "N=a b", "Q=a b!", "R=$P", "S=$P"]},
    ),
    (
        ["LABEL a=b\nLABEL c=$P", 'LABEL "d e"="f g"'],
        {"labels": {"l": "1", "a": "b", "c": "/bin", "d e": "f g"}},
    ),
    (
        ["EXPOSE 80 53/udp 90-91/tcp"],
        {"exposed_ports": {"80/tcp": {}, "53/udp": {}, "90/tcp": {}, "91/tcp": {}}},
    ),
    (["WORKDIR b", "WORKDIR c"], {"working_dir": "/w/b/c"}),
    (["workdir /a"], {"working_dir": "/a"}),
    (
        ["user me", "VOLUME /v /w", 'VOLUME ["/x y"]'],
        {"user": "me", "volumes": {"/v": {}, "/w": {}, "/x y": {}}},
    ),
    (["STOPSIGNAL SIGINT"], {"stop_signal": "SIGINT"}),
    (["ONBUILD RUN make $X"], {"on_build": ["RUN make $X"]}),
    (["HEALTHCHECK NONE"], {"healthcheck": HealthConfig(test=["NONE"])}),
    (
        ["HEALTHCHECK --interval=5s --retries=2 CMD curl x"],
        {"healthcheck": HealthConfig(test=["CMD-SHELL", "curl x"], interval=5 * S, retries=2)},
    ),
    (['HEALTHCHECK CMD ["a"]'], {"healthcheck": HealthConfig(test=["CMD", "a"])}),
    (["ENV A=1 \\\n B=2", "# nothing"], {"env": ["P=/bin", "N=a b", "A=1", "B=2"]}),
]


@pytest.mark.parametrize(("changes", "fields"), CHANGES)
def test_changes_are_those_of_a_dockerfile(changes: list[str], fields: dict[str, object]) -> None:
    after = changed(BEFORE, changes)
    assert {name: getattr(after, name) for name in fields} == fields


REFUSED = [
    ("RUN x", "run is not a valid change command"),
    ("ENV", "ENV requires at least one argument"),
    ("ENV A", "ENV must have two arguments"),
    ("ENV A=1 B", 'Syntax error - can\'t find = in "B". Must be of the form: name=value'),
    (
        "ENV A='",
        'failed to process "\'": unexpected end of statement while looking for matching single-quote',
    ),
    ("LABEL =x", "LABEL names can not be blank"),
    ("EXPOSE 90-80", "Invalid containerPort: 90-80"),
    ("EXPOSE 80/foo", "Invalid proto: foo"),
    ("USER ${X:-", "failed to process \"${X:-\": syntax error: missing '}'"),
    ("SHELL bash", "SHELL requires the arguments to be in JSON form"),
    ("ONBUILD FROM x", "FROM isn't allowed as an ONBUILD trigger"),
    ("HEALTHCHECK RUN x", 'Unknown type "RUN" in HEALTHCHECK (try CMD)'),
    ("HEALTHCHECK --foo=1 CMD x", "Unknown flag: foo"),
]


@pytest.mark.parametrize(("change", "said"), REFUSED)
def test_other_changes_are_refused(change: str, said: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        changed(BEFORE, [change])
    assert str(refused.value) == said


def test_without_changes_nothing_changes() -> None:
    assert changed(BEFORE, []) == BEFORE
