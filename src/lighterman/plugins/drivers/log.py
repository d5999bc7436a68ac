"""Log drivers. Source: "Docker log driver plugins" of Docker's documentation; daemon/logger of moby 20.10."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from msgspec import Struct

from lighterman.plugins.client import Answer, PluginClient
from lighterman.plugins.errors import CallFailed, DriverRefused

TIMEOUT_S = 60.0


class _Capability(Struct, rename="pascal"):
    read_logs: bool = False


class _Capabilities(Answer):
    cap: _Capability | None = None


class RemoteLogDriver:
    """A driver behind a socket. `host_path` says where a path of the plugin's is on the host."""

    def __init__(self, client: PluginClient, host_path: Callable[[str], str]) -> None:
        self._client, self.host_path = client, host_path

    async def start_logging(self, file: str, info: Mapping[str, Any]) -> None:
        body = {"File": file, "Info": info}
        await self._client.call("LogDriver.StartLogging", body, Answer, timeout_s=TIMEOUT_S)

    async def stop_logging(self, file: str) -> None:
        await self._client.call("LogDriver.StopLogging", {"File": file}, Answer, timeout_s=TIMEOUT_S)

    async def reads_logs(self) -> bool:
        """A driver need not have capabilities: then it does not."""
        try:
            told = await self._client.call("LogDriver.Capabilities", None, _Capabilities, timeout_s=TIMEOUT_S)
        except (CallFailed, DriverRefused):
            return False
        return told.cap is not None and told.cap.read_logs

    def read_logs(
        self, info: Mapping[str, Any], config: Mapping[str, Any]
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        return self._client.stream("LogDriver.ReadLogs", {"Info": info, "Config": config})
