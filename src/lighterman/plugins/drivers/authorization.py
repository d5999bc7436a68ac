"""Authorization plugins. Source: "Access authorization plugin" of Docker's documentation; pkg/authorization
of moby.
"""

from collections.abc import Mapping
from typing import Any

from lighterman.plugins.client import Answer, PluginClient
from lighterman.plugins.interfaces import Verdict

TIMEOUT_S = 60.0


class _Verdict(Answer):
    allow: bool = False
    msg: str | None = None


class RemoteAuthorization:
    """A plugin behind a socket."""

    def __init__(self, client: PluginClient) -> None:
        self._client = client

    async def authorize_request(self, facts: Mapping[str, Any]) -> Verdict:
        return await self._asked("AuthZPlugin.AuthZReq", facts)

    async def authorize_response(self, facts: Mapping[str, Any]) -> Verdict:
        return await self._asked("AuthZPlugin.AuthZRes", facts)

    async def _asked(self, method: str, facts: Mapping[str, Any]) -> Verdict:
        told = await self._client.call(method, facts, _Verdict, timeout_s=TIMEOUT_S)
        return Verdict(told.allow, told.msg or "")
