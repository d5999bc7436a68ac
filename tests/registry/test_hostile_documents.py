"""Whatever a registry or an archive says of itself is understood or refused, and nothing else."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from lighterman.errdefs import EngineError, InvalidParameter
from lighterman.images.image import read_document
from lighterman.registry import Index, Manifest, parse_manifest
from lighterman.registry.auth import parse_challenges
from lighterman.registry.manifest import ACCEPTED

LEAF = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
DIGEST = st.sampled_from(["sha256:" + "0" * 64, "sha256:", "../x", "sha512:" + "a" * 128])
KEYS = st.sampled_from(
    [
        *("schemaVersion", "mediaType", "config", "layers", "manifests", "fsLayers", "digest", "size"),
        *("platform", "urls", "rootfs", "type", "diff_ids", "history", "created", "os", "Env", "Labels"),
    ]
)
VALUE = st.recursive(
    LEAF | DIGEST | st.sampled_from([*ACCEPTED, "layers", 2]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6),
    max_leaves=20,
)
DOCUMENT = st.dictionaries(KEYS, VALUE, max_size=8)


@settings(max_examples=200)
@given(DOCUMENT, st.sampled_from([*ACCEPTED, "", "text/html; charset=utf-8"]))
def test_a_manifest_is_one_or_is_refused(document: Mapping[str, Any], kind: str) -> None:
    with suppress(EngineError):
        found = parse_manifest(json.dumps(document).encode(), kind, familiar="x")
        parts = found.manifests if isinstance(found, Index) else (found.config, *found.layers)
        assert all(len(part.digest) == 71 and part.size >= 0 for part in parts)
        assert isinstance(found, Index | Manifest)


@settings(max_examples=200)
@given(DOCUMENT)
def test_a_configuration_is_one_or_is_refused(document: Mapping[str, Any]) -> None:
    with suppress(InvalidParameter):
        assert read_document(json.dumps(document).encode()).rootfs is not None


@given(st.binary(max_size=100), st.sampled_from(ACCEPTED))
def test_bytes_that_are_no_document_are_refused(raw: bytes, kind: str) -> None:
    with suppress(EngineError):
        parse_manifest(raw, kind, familiar="x")
    with suppress(EngineError):
        read_document(raw)


@given(st.lists(st.text(max_size=80), max_size=3))
def test_challenges_never_fail(headers: list[str]) -> None:
    parse_challenges(headers)
