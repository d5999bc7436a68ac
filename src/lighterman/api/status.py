"""The status page: a listener for browsers, opened only when `status` asks for it, that shows and never acts.

One page (`status.html`) without anything from elsewhere; its script asks the routes of `PAGES`, all of them
looks at what is there. They tell names, commands and labels, which any user of this host may read on
loopback; they tell no environments, logs or files. Who loads this module gets the types of everything.
"""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

from lighterman.api import openapi
from lighterman.api.request import Answer, Reply, Request, reply
from lighterman.api.rooms import Rooms
from lighterman.api.routes import SERVED, Route
from lighterman.lib.effects import in_thread

SHOWN = frozenset(
    {
        "ContainerList",
        "ContainerStats",
        "ImageList",
        "NetworkList",
        "SystemEvents",
        "SystemInfo",
        "SystemPing",
        "SystemVersion",
        "VolumeList",
    }
)
"""Operations that a browser may ask for."""


async def page(request: Request, rooms: Rooms) -> Answer:
    """StatusPage: the page."""
    return await in_thread(_page)


async def document(request: Request, rooms: Rooms) -> Answer:
    """StatusDocument: the OpenAPI document of the whole API, for reading."""
    return await in_thread(_document)


PAGES: tuple[Route, ...] = (
    Route("StatusPage", "GET", "/", page),
    Route("StatusDocument", "GET", "/openapi.json", document),
    *(route for route in SERVED if route.operation in SHOWN and route.method == "GET"),
)


@cache
def _page() -> Reply:
    html = Path(__file__).with_name("status.html").read_text()
    headers = {
        "Content-Security-Policy": policy(html),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
    }
    return Reply(200, html.encode(), "text/html; charset=utf-8", headers)


@cache
def _document() -> Reply:
    return reply(openapi.document())


def policy(html: str) -> str:
    """What a browser lets the page do: run its own script and style, and ask where it came from. No more."""
    style, script = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for tag in ("style", "script")
        for text in re.findall(f"<{tag}>(.*?)</{tag}>", html, re.S)
    )
    return (
        f"default-src 'none'; style-src 'sha256-{style}'; script-src 'sha256-{script}'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
