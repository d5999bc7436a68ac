"""Placeholders, as SwarmKit's users write them."""

import pytest

from lighterman.swarm.agent.template import BadTemplate, expand

FIELDS = {
    "Service": {"Name": "web", "Labels": {"zone": "eu", "a.b": "dotted"}},
    "Node": {"ID": "n1", "Hostname": "host", "Platform": {"OS": "linux"}},
    "Task": {"Slot": "3"},
}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("plain", "plain"),
        ("{{.Service.Name}}-{{.Task.Slot}}", "web-3"),
        ("{{ .Node.Platform.OS }}", "linux"),
        ("{{.Service.Labels.zone}}", "eu"),
        ('{{index .Service.Labels "a.b"}}', "dotted"),
        ('{{index .Service.Labels "none"}}', ""),
        ('{{join "-" .Service.Name "x" .Task.Slot}}', "web-x-3"),
        ("a  {{- /* nothing */ -}}  b", "ab"),
        ('{{"{{"}}', "{{"),
        ("{{`raw`}}", "raw"),
        ("}} is text", "}} is text"),
    ],
)
def test_placeholders_are_filled_in(text: str, filled: str) -> None:
    assert expand(text, FIELDS) == filled


@pytest.mark.parametrize(
    "text",
    [
        "{{.Service.Nope}}",
        "{{.Service.Labels.nope}}",
        "{{nope}}",
        "{{if .Service.Name}}x{{end}}",
        "{{.Service.Name | printf}}",
        "{{.Service.Name",
        "{{}}",
        "{{secret}}",
    ],
)
def test_what_is_no_placeholder_is_refused(text: str) -> None:
    with pytest.raises(BadTemplate, match='executing "expansion"'):
        expand(text, FIELDS, {"secret": lambda name: name})


def test_contents_may_call_what_they_are_given() -> None:
    assert expand('a {{secret "x"}}', FIELDS, {"secret": str.upper}) == "a X"
