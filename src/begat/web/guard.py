"""Which requests are let through, and the headers of every answer.

Enters: ASGI requests.  Leaves: the app's answer, or a refusal.  Three attacks are meant: a page elsewhere that has its own
name point at this machine (DNS rebinding: the Host header then names the stranger), one that sends a form here (Origin and
Sec-Fetch-Site then name the stranger), and names from models that turn out to be markup (the Content-Security-Policy lets no
script run but the explorer's own file).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: names of this machine for itself
LOCAL = ("localhost", "127.0.0.1", "::1")
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; frame-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: for a finished report, which brings its own styles and runs nothing
REPORT_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'self'; sandbox",
    "cross-origin-opener-policy": "unsafe-none",  # a sandboxed page must not ask for more
}
#: referrers stay off other sites, but forms must name their origin, which no-referrer would hide
_HEADERS = {
    "x-content-type-options": "nosniff", "referrer-policy": "same-origin", "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin", "permissions-policy": "camera=(), microphone=(), geolocation=()", "cache-control": "no-store",
}  # fmt: skip
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?")


class Guard:
    """ASGI middleware.

    Args:
        names: host names that this server answers to.
        any_address: answer to any IP address too (a stranger's page can rebind a name, not an address).
    """

    def __init__(self, app: App, names: tuple[str, ...] = LOCAL, any_address: bool = False) -> None:
        self.app, self.names, self.any_address = app, frozenset(n.lower() for n in names), any_address

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = list(scope["headers"])
        refused = self.refusal(scope["method"], headers)
        if refused:
            await _plain(send, *refused)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {k.lower() for k, _ in message["headers"]}
                extra = {"content-security-policy": POLICY, **_HEADERS}
                added = [(k.encode(), v.encode()) for k, v in extra.items() if k.encode() not in there]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        await self.app(scope, receive, guarded)

    def refusal(self, method: str, headers: list[tuple[bytes, bytes]]) -> tuple[int, str] | None:
        """(status, why), or None to let the request through."""
        hosts = [v.decode("latin-1") for k, v in headers if k.lower() == b"host"]
        if len(hosts) != 1 or not self.known(hosts[0]):
            return 421, "This server does not answer to that name. If it should: begat serve --name NAME"
        one = {k.lower(): v.decode("latin-1") for k, v in headers}
        site = one.get(b"sec-fetch-site", "")
        if method in ("GET", "HEAD"):
            navigates = one.get(b"sec-fetch-mode") == "navigate" and one.get(b"sec-fetch-dest") == "document"
            return (403, "Not for other sites.") if site in ("cross-site", "same-site") and not navigates else None
        if method != "POST":
            return 405, "Only GET, HEAD and POST."
        origin = one.get(b"origin")
        if origin is None and site != "same-origin":
            return 403, "A form must say where it comes from."
        if origin is not None and origin not in (f"http://{hosts[0]}", f"https://{hosts[0]}"):
            return 403, "Not for other sites."
        return (403, "Not for other sites.") if site not in ("", "same-origin") else None

    def known(self, host: str) -> bool:
        """Is this one of the names that the server answers to?"""
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found[1].strip("[]").lower()
        if name in self.names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self.any_address


async def _plain(send: Send, status: int, text: str) -> None:
    body = text.encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    headers += [(k.encode(), v.encode()) for k, v in {"content-security-policy": POLICY, **_HEADERS}.items()]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
