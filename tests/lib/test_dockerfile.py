"""The Dockerfile's grammar, and what its instructions make of a configuration.

The texts of errors are as dockerd 20.10.24 answered them to the same Dockerfiles.
"""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lighterman.apitypes.container import ContainerConfig, HealthConfig
from lighterman.errdefs import InvalidParameter
from lighterman.lib.dockerfile import (
    Add,
    Arg,
    Cmd,
    Copy,
    Entrypoint,
    Env,
    Heredoc,
    Instruction,
    Run,
    RunMount,
    comment,
    configured,
    environment,
    expanded,
    parse,
    parse_trigger,
)

S = 1_000_000_000


def instructions(text: str) -> tuple[Instruction, ...]:
    return parse(f"FROM x\n{text}".encode()).stages[0].instructions


def only(text: str) -> Instruction:
    (instruction,) = instructions(text)
    return instruction


def test_stages_and_global_arguments_are_told_apart() -> None:
    file = parse(b"ARG V=1\nFROM --platform=linux/arm64 a:$V AS Base\nRUN x\nFROM base\nARG V\n")
    assert [argument.arguments for argument in file.arguments] == [(("V", "1"),)]
    base, last = file.stages
    assert (base.start.image, base.start.name, base.start.platform) == ("a:$V", "base", "linux/arm64")
    assert (last.start.name, last.start.line, last.instructions[0].line) == ("", 4, 5)
    assert last.instructions == (Arg(line=5, original="ARG V", arguments=(("V", None),)),)


def test_lines_are_continued_and_comments_between_them_are_none_of_it() -> None:
    first, second = instructions("run a \\\n  # not this\n  b\\\\\n\n  env A=1\n")
    assert (first.line, first.original) == (2, "run a   b\\\\")
    assert (second.line, second.original) == (6, "env A=1")
    file = parse(b"\xef\xbb\xbf# escape=`\r\nFROM x\r\nCOPY a`\r\nb c\r\n")
    assert file.escape == "`"
    assert file.stages[0].instructions[0].original == "COPY ab c"


def test_an_empty_line_in_a_continued_one_is_warned_about() -> None:
    assert parse(b"FROM x\nRUN a \\\n\n  b\n").warnings == (
        "[WARNING]: Empty continuation line found in:\n    RUN a   b",
        "[WARNING]: Empty continuation lines will become errors in a future release.",
    )


def test_directives_end_with_the_first_other_line() -> None:
    assert parse(b"# Syntax = docker/dockerfile:1\n#escape=`\nFROM x").escape == "`"
    assert parse(b"\n# escape=`\nFROM x").escape == "\\"
    assert parse(b"# other=1\n# escape=`\nFROM x").escape == "\\"


COMMANDS = [
    ('RUN ["a", "b c"]', ("a", "b c"), False),
    ('RUN ["a"] and more', ("a",), False),
    ("RUN ['a']", ("['a']",), True),
    ("RUN [ -f x ] && y", ("[ -f x ] && y",), True),
    ('RUN   a "b"  $C', ('a "b"  $C',), True),
    ("RUN", (), True),
    ("RUN []", (), False),
    ('RUN ["\\ud83d\\ude00", "\\ud83d"]', ("😀", "\ufffd"), False),
]


@pytest.mark.parametrize(("text", "arguments", "shell"), COMMANDS)
def test_a_command_is_a_json_list_or_for_the_shell(
    text: str, arguments: tuple[str, ...], shell: bool
) -> None:
    run = only(text)
    assert isinstance(run, Run)
    assert (run.arguments, run.shell) == (arguments, shell)


def test_transfers_have_sources_flags_and_a_destination() -> None:
    assert instructions('COPY --from=a --chown="b c":d a b /d/\nADD --chmod=755 ["x y", "z"]') == (
        Copy(
            line=2,
            original='COPY --from=a --chown="b c":d a b /d/',
            sources=("a", "b"),
            destination="/d/",
            chown="b c:d",
            source_from="a",
        ),
        Add(
            line=3,
            original='ADD --chmod=755 ["x y", "z"]',
            sources=("x y",),
            destination="z",
            chmod="755",
        ),
    )


def test_heredocs_are_files_of_a_copy() -> None:
    copy = only("COPY <<a.txt <<-'b' c /d/\nA $V\na.txt\n\tB $V\n\tb\n")
    assert isinstance(copy, Copy)
    assert (copy.sources, copy.destination) == (("c",), "/d/")
    assert copy.heredocs == (Heredoc("a.txt", "A $V\n", True), Heredoc("b", "B $V\n", False))
    read = expanded(copy, {"V": "1"}, "\\")
    assert [heredoc.text for heredoc in read.heredocs] == ["A 1\n", "B $V\n"]


HEREDOC_RUNS = [
    ("RUN <<EOF\necho a\n# b \\\nEOF\n", ("echo a\n# b \\\n",)),
    ("RUN <<-EOF\n\techo a\n\tEOF\n", ("echo a\n",)),
    ("RUN cat <<A <<B\n1\nA\n2\nB\n", ("cat <<A <<B\n1\nA\n2\nB",)),
    ("RUN echo $((1<<2)) <<<a", ("echo $((1<<2)) <<<a",)),
]


@pytest.mark.parametrize(("text", "arguments"), HEREDOC_RUNS)
def test_heredocs_are_for_the_shell_of_a_run(text: str, arguments: tuple[str, ...]) -> None:
    run, after = instructions(f"{text}\nENV A=1")
    assert isinstance(run, Run)
    assert (run.arguments, run.shell, run.script) == (arguments, True, None)
    assert isinstance(after, Env)


def test_a_heredoc_with_an_interpreter_is_the_program() -> None:
    run = only("RUN <<EOF\n#!/bin/awk -f\nBEGIN {}\nEOF")
    assert isinstance(run, Run)
    assert run.arguments == ()
    assert run.script == Heredoc("EOF", "#!/bin/awk -f\nBEGIN {}\n", True)


MOUNTS = [
    ("type=cache,target=/c,sharing=locked,id=x,uid=1,mode=0755",
     RunMount(kind="cache", target="/c", sharing="locked", id="x", uid=1, mode=0o755, read_only=False)),
    ("from=base,src=/a,dst=/b", RunMount(source_from="base", source="/a", target="/b")),
    ("target=/b,rw", RunMount(target="/b", read_only=False)),
    ("type=TMPFS,target=/t", RunMount(kind="tmpfs", target="/t", read_only=False)),
    ("type=secret,id=s,required", RunMount(kind="secret", id="s", required=True)),
    ("type=ssh", RunMount(kind="ssh")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "mount"), MOUNTS)
def test_mounts_of_a_run(text: str, mount: RunMount) -> None:
    run = only(f"RUN --mount={text} ls")
    assert isinstance(run, Run)
    assert run.mounts == (mount,)


EMPTY_VALUES = "at least two arguments, but only one was provided. Destination could not be determined"

REFUSED = [
    ("", "the Dockerfile (Dockerfile) cannot be empty"),
    ("# only a comment\n", "failed to parse Dockerfile: file with no instructions"),
    ("RUN x", "no build stage in current context"),
    ("FOO bar", "dockerfile parse error line 1: unknown instruction: FOO"),
    ("# escape=x\nFROM x", "failed to parse Dockerfile: invalid escape token 'x' does not match ` or \\"),
    ("# escape=`\n# escape=`\nFROM x",
     "failed to parse Dockerfile: only one escape parser directive can be used"),
    ("FROM", "dockerfile parse error line 1: FROM requires either one or three arguments"),
    ("FROM a b", "dockerfile parse error line 1: FROM requires either one or three arguments"),
    ("FROM a as 1x", 'dockerfile parse error line 1: invalid name for build stage: "1x", '
     "name can't start with a number or contain symbols"),
    ("FROM --foo=1 a", "dockerfile parse error line 1: Unknown flag: foo"),
]  # fmt: skip

REFUSED_IN_A_STAGE = [
    ("foo bar\nENV", "dockerfile parse error line 2: unknown instruction: FOO"),
    ("ENV", "dockerfile parse error line 2: ENV requires at least one argument"),
    ("ENV A", "failed to parse Dockerfile: ENV must have two arguments"),
    ("ENV A=1 B", "failed to parse Dockerfile: "
     'Syntax error - can\'t find = in "B". Must be of the form: name=value'),
    ("ENV =x", "dockerfile parse error line 2: ENV names can not be blank"),
    ("LABEL =x", "dockerfile parse error line 2: LABEL names can not be blank"),
    ("ARG =x", "dockerfile parse error line 2: ARG names can not be blank"),
    ("\n\nARG", "dockerfile parse error line 4: ARG requires at least one argument"),
    ("EXPOSE", "dockerfile parse error line 2: EXPOSE requires at least one argument"),
    ("SHELL bash", "dockerfile parse error line 2: SHELL requires the arguments to be in JSON form"),
    ("SHELL []", "dockerfile parse error line 2: SHELL requires at least one argument"),
    ("ONBUILD", "dockerfile parse error line 2: ONBUILD requires at least one argument"),
    ("ONBUILD from x", "dockerfile parse error line 2: FROM isn't allowed as an ONBUILD trigger"),
    ("ONBUILD ONBUILD RUN x",
     "dockerfile parse error line 2: Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"),
    ("HEALTHCHECK", "dockerfile parse error line 2: HEALTHCHECK requires at least one argument"),
    ("HEALTHCHECK RUN x", 'dockerfile parse error line 2: Unknown type "RUN" in HEALTHCHECK (try CMD)'),
    ("HEALTHCHECK NONE x", "dockerfile parse error line 2: HEALTHCHECK NONE takes no arguments"),
    ("HEALTHCHECK CMD", "dockerfile parse error line 2: Missing command after HEALTHCHECK CMD"),
    ("HEALTHCHECK --interval=1 CMD x",
     'dockerfile parse error line 2: time: missing unit in duration "1"'),
    ("HEALTHCHECK --interval=1us CMD x",
     'dockerfile parse error line 2: Interval "interval" cannot be less than 1ms'),
    ("HEALTHCHECK --retries=0 CMD x",
     "dockerfile parse error line 2: --retries must be at least 1 (not 0)"),
    ("HEALTHCHECK --retries=x CMD x",
     'dockerfile parse error line 2: strconv.ParseInt: parsing "x": invalid syntax'),
    ("HEALTHCHECK --retries=99999999999 CMD x",
     'dockerfile parse error line 2: strconv.ParseInt: parsing "99999999999": value out of range'),
    ("HEALTHCHECK --timeout CMD x", "dockerfile parse error line 2: Missing a value on flag: timeout"),
    ("HEALTHCHECK --timeout=1s --timeout=2s CMD x",
     "dockerfile parse error line 2: Duplicate flag specified: timeout"),
    ("VOLUME [1]", "failed to parse Dockerfile: "
     "when using JSON array syntax, arrays must be comprised of strings only"),
    ('VOLUME [" "]', "dockerfile parse error line 2: VOLUME specified can not be an empty string"),
    ("COPY a", f"dockerfile parse error line 2: COPY requires {EMPTY_VALUES}"),
    ("ADD a", f"dockerfile parse error line 2: ADD requires {EMPTY_VALUES}"),
    ("ADD --from=a b c", "dockerfile parse error line 2: Unknown flag: from"),
    ("USER", "dockerfile parse error line 2: USER requires exactly one argument"),
    ("RUN --mount=type=foo ls", 'dockerfile parse error line 2: unsupported mount type "foo"'),
    ("RUN --mount=foo ls",
     "dockerfile parse error line 2: invalid field 'foo' must be a key=value pair"),
    ("RUN --mount=x=y ls", "dockerfile parse error line 2: unexpected key 'x' in 'x=y'"),
    ("RUN --mount=mode=1 ls", 'dockerfile parse error line 2: mode not allowed for "bind" type mounts'),
    ("RUN --mount=type=secret ls",
     "dockerfile parse error line 2: invalid secret mount. one of source, target required"),
    ("COPY <<../x /\n../x", 'dockerfile parse error line 2: "../x" is no name of a file that COPY can make'),
    ("COPY <<.. /\n..", 'dockerfile parse error line 2: ".." is no name of a file that COPY can make'),
    ("RUN <<EOF\na", "failed to parse Dockerfile: unterminated heredoc"),
    (f"RUN {'x' * 70_000}",
     "failed to parse Dockerfile: dockerfile line greater than max allowed size of 65535"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"), [*REFUSED, *((f"FROM x\n{text}", said) for text, said in REFUSED_IN_A_STAGE)]
)
def test_what_is_no_dockerfile_is_refused_in_dockerds_words(text: str, said: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        parse(text.encode())
    assert str(refused.value) == said


def test_a_trigger_is_one_instruction() -> None:
    assert parse_trigger("RUN make").original == "RUN make"
    with pytest.raises(InvalidParameter, match="onbuild trigger should be a single expression"):
        parse_trigger("RUN a\nRUN b")


HISTORY = [
    ("ENV A=1 B='x y'", {"env": ["P=/bin", "A=1", "B=x y"]}, "ENV A=1 B=x y"),
    ("ENV A the $P", {"env": ["P=/bin", "A=the /bin"]}, "ENV A=the /bin"),
    ("LABEL a=b", {"labels": {"a": "b"}}, "LABEL a=b"),
    ("CMD echo $P", {"cmd": ["/bin/sh", "-c", "echo $P"]}, 'CMD ["/bin/sh" "-c" "echo $P"]'),
    ("CMD []", {"cmd": []}, "CMD []"),
    ('ENTRYPOINT ["a\\tb"]', {"entrypoint": ["a\tb"], "cmd": None}, 'ENTRYPOINT ["a\\tb"]'),
    ("ENTRYPOINT []", {"entrypoint": None, "cmd": None}, "ENTRYPOINT []"),
    ("EXPOSE 80 53/UDP 8000-8001", {"exposed_ports": {p: {} for p in ("53/udp", "80/tcp", "8000/tcp",
     "8001/tcp")}}, "EXPOSE 53/UDP 80 8000-8001"),
    ("VOLUME /a $P", {"volumes": {"/a": {}, "/bin": {}}}, "VOLUME [/a /bin]"),
    ("WORKDIR a/../b", {"working_dir": "/w/b"}, "WORKDIR /w/b"),
    ("WORKDIR /a/../b", {"working_dir": "/a/../b"}, "WORKDIR /a/../b"),
    ("USER $P:1", {"user": "/bin:1"}, "USER /bin:1"),
    ("STOPSIGNAL 9", {"stop_signal": "9"}, "STOPSIGNAL 9"),
    ('SHELL ["a", "b c"]', {"shell": ["a", "b c"]}, "SHELL [a b c]"),
    ("HEALTHCHECK NONE", {"healthcheck": HealthConfig(test=["NONE"])},
     'HEALTHCHECK &{["NONE"] "0s" "0s" "0s" \'\\x00\'}'),
    ("HEALTHCHECK --interval=5m --retries=3 CMD a \"b\"",
     {"healthcheck": HealthConfig(test=["CMD-SHELL", 'a "b"'], interval=300 * S, retries=3)},
     'HEALTHCHECK &{["CMD-SHELL" "a \\"b\\""] "5m0s" "0s" "0s" \'\\x03\'}'),
    ("ONBUILD  RUN $P", {"on_build": ["RUN $P"]}, "ONBUILD RUN $P"),
    ("MAINTAINER me", {}, "MAINTAINER me"),
    ("ARG A=$P B", {}, "ARG A=/bin B"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "fields", "said"), HISTORY)
def test_an_instruction_alters_the_configuration_and_tells_the_history(
    text: str, fields: dict[str, object], said: str
) -> None:
    before = ContainerConfig(env=["P=/bin"], cmd=["old"], working_dir="/w")
    instruction = expanded(only(text), environment(before.env), "\\")
    after = configured(before, instruction, keeps_cmd=False)
    assert {name: getattr(after, name) for name in fields} == fields
    assert comment(after, instruction) == said


def test_an_entrypoint_takes_the_command_of_another_stage_away() -> None:
    before = ContainerConfig(cmd=["old"])
    assert configured(before, only("ENTRYPOINT a"), keeps_cmd=True).cmd == ["old"]
    assert isinstance(only("ENTRYPOINT a"), Entrypoint)
    assert isinstance(only("CMD a"), Cmd)


PORTS_REFUSED = [
    ("90-80", "Invalid containerPort: 90-80"),
    ("abc", "Invalid containerPort: abc"),
    ("70000", "Invalid containerPort: 70000"),
    ("80/foo", "Invalid proto: foo"),
    ("/tcp", "No port specified: /tcp<empty>"),
    ("x:80:80", "Invalid ip address: x"),
    ("::1:80:80", "Invalid ip address ::1: address ::1:: too many colons in address"),
    ("80:80-81", "Invalid ranges specified for container and host Ports: 80-81 and 80"),
    ("99999:80", "Invalid hostPort: 99999"),
]


@pytest.mark.parametrize(("port", "said"), PORTS_REFUSED)
def test_ports_that_are_none_are_refused_in_dockerds_words(port: str, said: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        configured(ContainerConfig(), only(f"EXPOSE {port}"), keeps_cmd=False)
    assert str(refused.value) == said


def test_an_environment_cannot_grow_without_end() -> None:
    config = ContainerConfig(env=[f"A{n}={'x' * 100_000}" for n in range(20)])
    larger = Env(line=1, original="", variables=(("B", "x" * 100_000),))
    with pytest.raises(InvalidParameter, match="the environment has"):
        configured(config, larger, keeps_cmd=False)


WORDS = ["FROM x", "RUN", "COPY", "ENV", "HEALTHCHECK", "ONBUILD", "EOF", "a", "é", "escape=", "<<", "--"]


@given(st.lists(st.sampled_from([*WORDS, *" \n\t\r\u2028\\`#\"'[],=${}"])).map("".join))
def test_whatever_comes_is_parsed_or_refused(text: str) -> None:
    with suppress(InvalidParameter):
        for stage in parse(text.encode()).stages:
            for instruction in stage.instructions:
                expanded(instruction, {"a": "b"}, "\\")


@given(st.binary())
def test_bytes_that_are_no_text_are_parsed_or_refused(data: bytes) -> None:
    with suppress(InvalidParameter):
        parse(data)
