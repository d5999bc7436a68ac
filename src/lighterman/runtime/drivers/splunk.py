"""The driver splunk: events to an HTTP Event Collector, in batches.

Source: "Format events for HTTP Event Collector" of Splunk; daemon/logger/splunk of moby for the fields.
"""

import http.client
import json
import os
import uuid
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from lighterman.lib.log_records import STREAMS, Entry
from lighterman.lib.tls import client_context
from lighterman.runtime.drivers.connection import dial_error
from lighterman.runtime.drivers.driver import Driver
from lighterman.runtime.fields import Fields

PATH = "/services/collector/event/1.0"
_BATCH = 1000
_TIMEOUT_S = 30.0
_OK = 200


class Events:
    """Makes events. `form`: inline, json or raw; `common` are the fields of all (host, source, ...)."""

    def __init__(self, form: str, tag: str, attrs: Mapping[str, str], common: Mapping[str, str]) -> None:
        self._form, self._common = form, {name: value for name, value in common.items() if value}
        self._event = {"tag": tag} if tag else {}
        self._attrs = {"attrs": dict(attrs)} if attrs else {}
        prefix = ([tag] if tag else []) + [f"{name}={value}" for name, value in attrs.items()]
        self._prefix = "".join(f"{each} " for each in prefix)

    def event(self, entry: Entry) -> bytes:
        """One event; b"": splunk does not take it."""
        line = entry.line.decode("utf-8", "replace")
        if self._form == "raw":
            if not line.strip():
                return b""
            event: Any = self._prefix + line
        else:
            event = {
                "line": _parsed(line) if self._form == "json" else line,
                "source": STREAMS[entry.stream],
                **self._event,
                **self._attrs,
            }
        when = f"{entry.time_ns // 10**9}.{entry.time_ns % 10**9 // 1000:06d}"
        return json.dumps({"event": event, "time": when, **self._common}).encode()


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return line


class Splunk(Driver):
    """Settings: address, tls, ca, name, skip_verify, token, form, tag, gzip, level, ack, verify, common.*."""

    def __init__(self, settings: Fields, fields: Mapping[str, str]) -> None:
        self._settings = settings
        common = {name: settings.text(f"log.{name}") for name in ("source", "sourcetype", "index")}
        self._events = Events(
            settings.text("log.format"),
            settings.text("log.tag"),
            fields,
            {"host": os.uname().nodename, **common},
        )
        self._batch: list[bytes] = []
        self._http = self._client()
        scheme = "https" if settings.flag("log.tls") else "http"
        self._url = f"{scheme}://{settings.text('log.address')}{PATH}"
        self.idle_s = settings.number("log.wait_ms") / 1000

    def connect(self) -> None:
        if self._settings.flag("log.verify"):
            self._ask("OPTIONS", b"", "failed to verify connection")

    def send(self, entries: Sequence[Entry]) -> None:
        self._batch += [event for entry in entries if (event := self._events.event(entry))]
        if len(self._batch) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        batch, self._batch = self._batch, []
        if batch:
            body = b"".join(batch)
            if self._settings.flag("log.gzip"):
                packer = zlib.compressobj(self._settings.number("log.level"), zlib.DEFLATED, 31)
                body = packer.compress(body) + packer.flush()
            self._ask("POST", body, "failed to send event")

    def _client(self) -> http.client.HTTPConnection:
        address = self._settings.text("log.address")
        if not self._settings.flag("log.tls"):
            return http.client.HTTPConnection(address, timeout=_TIMEOUT_S)
        context = client_context(
            self._settings.text("log.ca"), verify=not self._settings.flag("log.skip_verify")
        )
        return http.client.HTTPSConnection(address, timeout=_TIMEOUT_S, context=context)

    def _ask(self, method: str, body: bytes, failure: str) -> None:
        """Raises: OSError."""
        headers = {"Authorization": f"Splunk {self._settings.text('log.token')}"}
        if body and self._settings.flag("log.gzip"):
            headers["Content-Encoding"] = "gzip"
        if body and self._settings.flag("log.ack"):
            headers["X-Splunk-Request-Channel"] = str(uuid.uuid4())
        try:
            answer = self._answer(method, body, headers)
            text = answer.read(1024).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            self._http.close()
            raise OSError(f'{method.capitalize()} "{self._url}": {self._reason(error)}') from error
        if answer.status != _OK:
            self._http.close()
            raise OSError(f"splunk: {failure} - {answer.status} {answer.reason} - {text}")
        answer.read()

    def _reason(self, error: Exception) -> str:
        address = self._settings.text("log.address")
        return dial_error("tcp", address, error) if isinstance(error, OSError) else str(error)

    def _answer(self, method: str, body: bytes, headers: Mapping[str, str]) -> http.client.HTTPResponse:
        """Over the connection that is open, or a new one if the server has closed it."""
        for last in (False, True):
            try:
                self._http.request(method, PATH, body, dict(headers))
                return self._http.getresponse()
            except (ConnectionError, http.client.BadStatusLine):
                self._http.close()
                if last:
                    raise
        raise AssertionError
