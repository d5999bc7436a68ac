"""Build arguments: who knows which, and what of them counts."""

from lighterman.build.dockerfile import BuildArguments
from lighterman.lib.dockerfile import Arg


def arg(*arguments: tuple[str, str | None]) -> Arg:
    return Arg(line=1, original="", arguments=arguments)


def test_what_is_given_goes_before_a_default_and_null_is_not_given() -> None:
    known = BuildArguments({"A": "1", "N": None}).declared(arg(("A", "x"), ("N", "y"), ("B", None)))
    assert known.known() == {"A": "1", "N": "y"}


def test_a_from_knows_the_arguments_before_the_first_from_alone() -> None:
    arguments = BuildArguments({"S": "given"}).declared_globally(arg(("T", "latest"), ("S", None)))
    assert arguments.for_from() == {"T": "latest", "S": "given"}
    stage = arguments.at_stage()
    assert stage.known() == {}
    assert stage.declared(arg(("T", None))).known() == {"T": "latest"}
    assert stage.declared(arg(("X", "1"))).for_from() == arguments.for_from()


def test_env_goes_before_arg() -> None:
    arguments = BuildArguments({}).declared(arg(("A", "1"), ("B", "2")))
    assert arguments.variables(["A=env"]) == {"A": "env", "B": "2"}
    assert arguments.beside(["A=env"]) == {"B": "2"}


def test_the_history_has_the_arguments_that_a_run_finds_sorted() -> None:
    arguments = BuildArguments({}).declared(arg(("B", "2"), ("A", "1")))
    assert arguments.in_history([]) == ["|2", "A=1", "B=2"]
    assert arguments.in_history(["A=", "B="]) == []
    assert BuildArguments({}).in_history([]) == []


def test_a_proxy_that_nobody_declared_counts_for_nothing() -> None:
    arguments = BuildArguments({"HTTP_PROXY": "http://p"})
    assert arguments.beside([]) == {"HTTP_PROXY": "http://p"}
    assert arguments.in_history([]) == ["|0"]
    assert arguments.declared(arg(("HTTP_PROXY", None))).in_history([]) == ["|1", "HTTP_PROXY=http://p"]
    assert arguments.unused(frozenset()) == []


def test_what_nobody_declared_was_given_for_nothing() -> None:
    assert BuildArguments({"B": "1", "A": None, "C": "1"}).unused(frozenset({"C"})) == ["A", "B"]
