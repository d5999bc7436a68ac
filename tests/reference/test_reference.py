"""The grammar of references, and Docker's texts for what is none."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lighterman.errdefs import InvalidParameter
from lighterman.reference import Reference, familiar_match, is_digest, parse_any, parse_reference

DIGEST = "sha256:" + "0123456789abcdef" * 4

GIVEN_AND_MEANT = [
    ("busybox", Reference("docker.io", "library/busybox")),
    ("busybox:1.36", Reference("docker.io", "library/busybox", "1.36")),
    ("me/tool", Reference("docker.io", "me/tool")),
    ("docker.io/busybox", Reference("docker.io", "library/busybox")),
    ("index.docker.io/me/tool", Reference("docker.io", "me/tool")),
    ("localhost/x", Reference("localhost", "x")),
    ("127.0.0.1:5000/a/b/c:t", Reference("127.0.0.1:5000", "a/b/c", "t")),
    ("[::1]:5000/x:1", Reference("[::1]:5000", "x", "1")),
    ("[2001:db8::1]/a/b", Reference("[2001:db8::1]", "a/b")),
    ("Example.com/x", Reference("Example.com", "x")),
    (f"busybox@{DIGEST}", Reference("docker.io", "library/busybox", "", DIGEST)),
    (f"q.io/a:t@{DIGEST}", Reference("q.io", "a", "t", DIGEST)),
    ("a__b/c--d.e_f", Reference("docker.io", "a__b/c--d.e_f")),
]
REFUSED = [
    ("", "invalid reference format"),
    ("UP", "invalid reference format: repository name must be lowercase"),
    ("a/UP:t", "invalid reference format: repository name must be lowercase"),
    ("a:", "invalid reference format"),
    ("a:t:t", "invalid reference format"),
    ("a..b", "invalid reference format"),
    ("a___b", "invalid reference format"),
    ("-a", "invalid reference format"),
    ("[::1/x", "invalid reference format"),
    ("[::1]", "invalid reference format"),
    ("[example.com]/x", "invalid reference format"),
    ("a//b", "invalid reference format"),
    ("a b", "invalid reference format"),
    ("a\n", "invalid reference format"),
    ("a:" + "t" * 129, "invalid reference format"),
    ("a@sha256:" + "0" * 63, "invalid checksum digest length"),
    ("a@md5:" + "0" * 32, "unsupported digest algorithm"),
    ("a" * 300, "repository name must not be more than 255 characters"),
    ("0" * 64, f"invalid repository name ({'0' * 64}), cannot specify 64-byte hexadecimal strings"),
]


@pytest.mark.parametrize(("text", "meant"), GIVEN_AND_MEANT)
def test_a_reference_is_filled_in_as_docker_does(text: str, meant: Reference) -> None:
    assert parse_reference(text) == meant


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_what_is_no_reference_is_refused_in_dockers_words(text: str, message: str) -> None:
    with pytest.raises(InvalidParameter) as refused:
        parse_reference(text)
    assert str(refused.value) == message


# no dots: a familiar name that begins with "a.b/" means the registry a.b
components = st.from_regex(r"[a-z0-9]{1,6}([_-][a-z0-9]{1,6})?", fullmatch=True)
references = st.builds(
    Reference,
    domain=st.sampled_from(["docker.io", "localhost", "q.example.com", "127.0.0.1:5000"]),
    path=st.lists(components, min_size=2, max_size=4).map("/".join),
    tag=st.one_of(st.just(""), st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)),
    digest=st.sampled_from(["", DIGEST]),
)


@given(references)
def test_both_written_forms_read_back_as_the_same_reference(reference: Reference) -> None:
    assert parse_reference(str(reference)) == reference
    assert parse_reference(reference.familiar()) == reference


@given(st.text(max_size=40))
def test_any_text_is_a_reference_or_refused_as_a_wrong_parameter(text: str) -> None:
    with contextlib.suppress(InvalidParameter):
        assert str(parse_reference(text))


def test_the_default_tag_is_for_names_alone() -> None:
    assert parse_reference("a").with_default_tag().familiar() == "a:latest"
    assert parse_reference(f"a@{DIGEST}").with_default_tag().familiar() == f"a@{DIGEST}"


def test_a_whole_id_is_a_digest_and_a_short_one_a_name() -> None:
    assert parse_any(DIGEST.removeprefix("sha256:")) == DIGEST
    assert parse_any(DIGEST) == DIGEST
    assert isinstance(parse_any("0123abc"), Reference)


@pytest.mark.parametrize("text", ["sha256:", "sha256:" + "A" * 64, "sha1:" + "0" * 40, "x", "sha256:../x"])
def test_only_lower_hex_of_the_right_length_is_a_digest(text: str) -> None:
    assert not is_digest(text)


PATTERNS = [
    ("busybox", "busybox:1", True),
    ("busybox:*", "busybox:1", True),
    ("busy*", "busybox:1", True),
    ("*", "me/tool:1", False),
    ("*/*", "me/tool:1", True),
    ("me/[a-t]ool", "me/tool", True),
    ("me/[^t]ool", "me/tool", False),
    ("busybo?", "busybox", True),
    (r"busy\box", "busybox", True),
    ("docker.io/library/busybox", "busybox", False),
]


@pytest.mark.parametrize(("pattern", "reference", "matches"), PATTERNS)
def test_a_pattern_matches_what_users_type(pattern: str, reference: str, *, matches: bool) -> None:
    assert familiar_match(pattern, parse_reference(reference)) is matches


@pytest.mark.parametrize("pattern", ["[", "[]", "a\\", "[z-a]"])
def test_a_malformed_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidParameter):
        familiar_match(pattern, parse_reference("a"))
