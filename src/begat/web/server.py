"""Run the explorer: a socket, uvicorn, and nothing else.

Enters: settings of `begat serve`.  Leaves: when interrupted.  The app: `app.py`.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from begat.errors import InputError
from begat.web.app import create_app
from begat.web.guard import LOCAL

#: connections and requests in flight
_MOST = 64


def run(
    index: str, *, roots: Sequence[str | Path] = (), host: str = "127.0.0.1", port: int = 8650, names: Sequence[str] = (),
    ready: Callable[[str], None] | None = None,
) -> None:  # fmt: skip
    """Serve until interrupted.

    Args:
        ready: called with the address once the socket is bound.

    Raises:
        InputError: no index there, a root that is no folder, an address that cannot be listened on.
    """
    import uvicorn

    address = _address(host)
    local = host in LOCAL or (address is not None and address.is_loopback)
    app = create_app(index, roots, names if local else (*names, host), any_address=not local)
    try:
        kind = socket.AF_INET6 if address is not None and address.version == 6 else socket.AF_INET
        with socket.create_server((host, port), family=kind) as server:
            config = uvicorn.Config(
                app, log_level="warning", access_log=False, server_header=False, proxy_headers=False, lifespan="off", limit_concurrency=_MOST,
                timeout_keep_alive=5, timeout_graceful_shutdown=2,
            )  # fmt: skip
            if ready is not None:
                shown = f"[{host}]" if kind == socket.AF_INET6 else host
                ready(f"http://{shown}:{server.getsockname()[1]}/")
            uvicorn.Server(config).run(sockets=[server])
    except OSError as err:
        raise InputError(
            f"cannot listen there: {err.strerror or err}", found=f"{host} port {port}", fix="choose another --host or --port"
        ) from None


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
