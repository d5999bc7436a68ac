"""Manifests and platforms, pure."""

import json
from typing import Any

import pytest

from lighterman.apitypes.registry import Platform
from lighterman.errdefs import InvalidParameter, NotFound
from lighterman.registry import (
    Index,
    Manifest,
    UnsupportedManifest,
    choose,
    format_platform,
    parse_manifest,
    parse_platform,
    runs_on,
)
from lighterman.registry.manifest import (
    LIST,
    MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    PLUGIN_CONFIG,
    SCHEMA1_SIGNED,
    Listed,
)

DIGEST = "sha256:" + "0" * 64
HOST = Platform("amd64", "linux")
BLOB = {"mediaType": "application/octet-stream", "digest": DIGEST, "size": 3}


def parse(document: Any, media_type: str = MANIFEST) -> Manifest | Index:
    return parse_manifest(json.dumps(document).encode(), media_type, familiar="x:1")


@pytest.mark.parametrize("kind", [MANIFEST, OCI_MANIFEST, "application/json; charset=utf-8"])
def test_a_manifest_has_a_configuration_and_layers(kind: str) -> None:
    found = parse(
        {"schemaVersion": 2, "config": BLOB, "layers": [BLOB, BLOB], "annotations": {"a": "b"}}, kind
    )
    assert isinstance(found, Manifest)
    assert len(found.layers) == 2


@pytest.mark.parametrize("kind", [LIST, OCI_INDEX])
def test_an_index_has_manifests(kind: str) -> None:
    assert isinstance(parse({"schemaVersion": 2, "manifests": [BLOB]}, kind), Index)


REFUSED = {
    "no JSON object": ([], MANIFEST),
    "neither": ({"schemaVersion": 2}, MANIFEST),
    "both": ({"schemaVersion": 2, "config": BLOB, "layers": [], "manifests": [BLOB]}, OCI_INDEX),
    "sent as another": ({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}, OCI_MANIFEST),
    "schema 1": ({"schemaVersion": 1, "fsLayers": []}, SCHEMA1_SIGNED),
    "a digest that is a path": ({"config": BLOB, "layers": [{**BLOB, "digest": "sha256:../../x"}]}, MANIFEST),
    "a digest of another kind": (
        {"config": BLOB, "layers": [{**BLOB, "digest": "sha512:" + "0" * 128}]},
        MANIFEST,
    ),
    "a negative size": ({"config": BLOB, "layers": [{**BLOB, "size": -1}]}, MANIFEST),
    "a huge configuration": ({"config": {**BLOB, "size": 1 << 30}, "layers": []}, MANIFEST),
    "an artifact": (
        {"config": {**BLOB, "mediaType": "application/vnd.cncf.helm.config.v1+json"}, "layers": [BLOB]},
        OCI_MANIFEST,
    ),
    "a foreign layer": (
        {
            "config": BLOB,
            "layers": [
                {
                    **BLOB,
                    "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
                    "urls": ["http://elsewhere"],
                }
            ],
        },
        MANIFEST,
    ),
    "a plugin": ({"config": {**BLOB, "mediaType": PLUGIN_CONFIG}, "layers": []}, MANIFEST),
    "too many layers": ({"config": BLOB, "layers": [BLOB] * 501}, MANIFEST),
}


@pytest.mark.parametrize(("document", "kind"), REFUSED.values(), ids=REFUSED.keys())
def test_what_no_image_can_be_made_of_is_refused(document: Any, kind: str) -> None:
    with pytest.raises(UnsupportedManifest) as refused:
        parse(document, kind)
    assert "http://" not in str(refused.value), "where a foreign layer lies is nobody's business"


def listed(name: str, *platform: str) -> Listed:
    architecture, os, variant = (*platform, "", "")[:3]
    return Listed(MANIFEST, name, 1, Platform(architecture, os, variant))


INDEX = Index(
    (
        listed("v6", "arm", "linux", "v6"),
        listed("v7", "arm", "linux", "v7"),
        listed("win", "amd64", "windows"),
        listed("amd", "amd64", "linux"),
        listed("v8", "arm64", "linux", "v8"),
    )
)
CHOSEN = [
    (Platform("amd64", "linux"), "amd"),
    (Platform("arm64", "linux"), "v8"),
    (Platform("arm", "linux", "v7"), "v7"),
    (Platform("arm", "linux", "v8"), "v7"),
    (Platform("arm", "linux", "v6"), "v6"),
]


@pytest.mark.parametrize(("platform", "name"), CHOSEN)
def test_the_best_fit_is_chosen(platform: Platform, name: str) -> None:
    assert choose(INDEX, platform).digest == name


def test_without_a_fit_the_platform_is_named() -> None:
    with pytest.raises(NotFound, match="no matching manifest for linux/s390x in the manifest list entries"):
        choose(INDEX, Platform("s390x", "linux"))


WRITTEN = [
    ("linux/amd64", "linux/amd64"),
    ("linux/aarch64", "linux/arm64"),
    ("linux/arm/v7", "linux/arm/v7"),
    ("linux", "linux/amd64"),
    ("arm64", "linux/arm64"),
    ("Linux/X86_64", "linux/amd64"),
    ("armhf", "linux/arm/v7"),
    ("armel", "linux/arm/v6"),
    ("linux/arm/6", "linux/arm/v6"),
    ("macOS", "darwin/amd64"),
    ("any/thing", "any/thing"),
]


@pytest.mark.parametrize(("text", "meant"), WRITTEN)
def test_a_platform_is_read_as_people_write_it(text: str, meant: str) -> None:
    assert format_platform(parse_platform(text, host=HOST)) == meant


UNREADABLE = [
    ("", '"" is an invalid component of ""'),
    ("linux//", '"" is an invalid component of "linux//"'),
    ("linux/am d64", '"am d64" is an invalid component of "linux/am d64"'),
    ("a/b/c/d", '"a/b/c/d": cannot parse platform specifier'),
    ("foobar", '"foobar": unknown operating system or architecture'),
]


@pytest.mark.parametrize(("text", "said"), UNREADABLE)
def test_a_platform_that_is_none_is_refused(text: str, said: str) -> None:
    with pytest.raises(InvalidParameter, match=f"^{said}.*: invalid argument$"):
        parse_platform(text, host=HOST)


def test_a_lower_variant_runs_and_a_higher_does_not() -> None:
    assert runs_on(Platform("arm", "linux", "v6"), Platform("arm", "linux", "v7"))
    assert not runs_on(Platform("arm", "linux", "v8"), Platform("arm", "linux", "v7"))
    assert runs_on(Platform("arm64", "", ""), Platform("arm64", "linux", "v8"))
