"""Secrets and configs of this node's tasks: in memory only, and each task gets its own.

Source: template and agent/secrets of SwarmKit.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from lighterman.apitypes.swarm import NodeDescription
from lighterman.errdefs import NotFound
from lighterman.swarm.agent.task_container import task_fields
from lighterman.swarm.agent.template import expand
from lighterman.swarm.session import AssignedConfig, AssignedSecret, AssignedTask


class Payloads:
    """What the manager has sent, by kind and id."""

    def __init__(self) -> None:
        self._secrets: dict[str, AssignedSecret] = {}
        self._configs: dict[str, AssignedConfig] = {}

    def replace(self, secrets: Iterable[AssignedSecret], configs: Iterable[AssignedConfig]) -> None:
        """Know these and no others."""
        self._secrets = {each.id: each for each in secrets}
        self._configs = {each.id: each for each in configs}

    def change(
        self,
        secrets: Iterable[AssignedSecret],
        configs: Iterable[AssignedConfig],
        *,
        gone_secrets: Iterable[str],
        gone_configs: Iterable[str],
    ) -> None:
        """Know these too, and forget those that are gone."""
        for id in gone_secrets:
            self._secrets.pop(id, None)
        for id in gone_configs:
            self._configs.pop(id, None)
        self._secrets |= {each.id: each for each in secrets}
        self._configs |= {each.id: each for each in configs}

    def contents(self, task: AssignedTask, node_id: str, node: NodeDescription) -> dict[str, bytes]:
        """The contents of all that the task refers to, as `GivenFile.source` names them; what is a template
        is filled in.

        Raises: NotFound, BadTemplate.
        """
        spec = task.spec.container_spec
        if spec is None:
            return {}
        fields = task_fields(task, node_id, node)
        functions = _Functions(self, task)
        found: dict[str, bytes] = {}
        for secret_id in {each.secret_id for each in spec.secrets}:
            found[f"secret {secret_id}"] = _filled(self._secret(secret_id), fields, functions)
        for config_id in {each.config_id for each in spec.configs}:
            found[f"config {config_id}"] = _filled(self._config(config_id), fields, functions)
        return found

    def _secret(self, id: str) -> AssignedSecret:
        if id not in self._secrets:
            raise NotFound(f"unable to get secret from secret store: secret {id} not found")
        return self._secrets[id]

    def _config(self, id: str) -> AssignedConfig:
        if id not in self._configs:
            raise NotFound(f"unable to get config from config store: config {id} not found")
        return self._configs[id]


class _Functions:
    """What a content that is a template may call, for one task."""

    def __init__(self, payloads: Payloads, task: AssignedTask) -> None:
        spec = task.spec.container_spec
        assert spec is not None
        self._payloads = payloads
        self._spec = spec

    def secret(self, target: str) -> str:
        for each in self._spec.secrets:
            if each.file is not None and each.file.name == target:
                return self._payloads._secret(each.secret_id).content.decode(errors="surrogateescape")
        raise LookupError(f"secret target {target} not found")

    def config(self, target: str) -> str:
        for each in self._spec.configs:
            if each.file is not None and each.file.name == target:
                return self._payloads._config(each.config_id).content.decode(errors="surrogateescape")
        raise LookupError(f"config target {target} not found")

    def env(self, name: str) -> str:
        for each in self._spec.env:
            key, equals, value = each.partition("=")
            if key == name and equals:
                return value
        return ""


def _filled(
    payload: AssignedSecret | AssignedConfig, fields: Mapping[str, Any], functions: _Functions
) -> bytes:
    if not payload.templating:
        return payload.content
    known = {"secret": functions.secret, "config": functions.config, "env": functions.env}
    text = payload.content.decode(errors="surrogateescape")
    return expand(text, fields, known).encode(errors="surrogateescape")
