"""The class-picker as a web page: `aetherfusion picker`. No lesson builds it.

It decides who may see the page, whose files are in the folder `page`; `widgets/page.py` answers.
"""

import asyncio
import errno
import hmac
import logging
import re
import secrets
import socket
import threading
import webbrowser
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from typer import Option, echo

from ..checkpoint import load_model, load_pretrained
from ..utils.hardware import best_device

Weights = Annotated[Path | None, Option(help="A model file, instead of the pretrained model.")]
FILES = {"": "text/html", "style.css": "text/css", "script.js": "text/javascript"}
LOCAL = ("127.0.0.1", "localhost", "[::1]", "::1")


def picker(
    weights: Weights = None,
    host: Annotated[str, Option(help="0.0.0.0 opens the page to the network.")] = "127.0.0.1",
    port: Annotated[int, Option(min=1, max=65535, help="Or the next free one.")] = 8866,
    browser: Annotated[bool, Option(help="Open the page here.")] = True,
) -> None:
    """Show a web page on which classes are picked; F11 suits a projector."""
    model = load_pretrained() if weights is None else load_model(weights)
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(model.to(best_device()), host, port, browser))


async def serve(model: Any, host: str, port: int, browser: bool) -> None:
    """Serves the page at this port, or the next free one, until Ctrl-C."""
    # An install for drawing alone has no tornado.
    from tornado.httpserver import HTTPServer
    from tornado.routing import Matcher
    from tornado.web import Application, HTTPError, RequestHandler

    token = secrets.token_urlsafe(12)

    class Trusted(Matcher):
        """Requests by the printed address, and from no page of another server."""

        def match(self, request: Any) -> dict[str, Any] | None:
            given = b"".join(request.query_arguments.get("token", []))
            origin = urlsplit(request.headers.get("Origin", f"//{request.host}")).netloc
            right = hmac.compare_digest(given, token.encode()) and origin == request.host
            return {} if right and is_ours(request.host_name.lower(), host) else None

    class Refused(RequestHandler):
        """The answer to all others."""

        def prepare(self) -> None:
            raise HTTPError(403, reason="Open the address that `aetherfusion picker` has printed")

    class Files(RequestHandler):
        """The three files of the page."""

        def get(self, name: str) -> None:
            if name not in FILES:
                raise HTTPError(404)
            policy = f"default-src 'self'; connect-src ws://{self.request.host}; img-src data:"
            self.set_header("Content-Security-Policy", f"{policy}; frame-ancestors 'none'")
            self.set_header("Content-Type", FILES[name])
            self.set_header("Cache-Control", "no-store")
            self.set_header("Referrer-Policy", "no-referrer")
            self.render(name or "index.html", token=token)

    logging.getLogger("tornado").setLevel(logging.ERROR)
    port, sockets = listen(port, host)
    app = Application(
        [(Trusted(), [("/socket", "aetherfusion.widgets.page.Page"), ("/(.*)", Files)])],
        default_handler_class=Refused,
        model=model,
        template_path=str(Path(__file__).with_name("page")),
        template_whitespace="all",
        log_function=lambda _: None,
        websocket_max_message_size=4096,
        websocket_ping_interval=20,  # a page that does not answer is closed
    )
    HTTPServer(app, max_body_size=4096).add_sockets(sockets)
    name = host if host in LOCAL else own_address()
    name = f"[{name}]" if ":" in name else name
    url = f"http://{name}:{port}/?token={token}"
    echo(f"Serving {url} until Ctrl-C.")
    if host not in LOCAL:
        echo("Whoever is on the network and has this address can make images here.")
    if browser:
        threading.Thread(target=webbrowser.open, args=[url], daemon=True).start()
    await asyncio.Event().wait()


def is_ours(name: str, host: str) -> bool:
    """Whether it is a name of this computer that no foreign server can have."""
    number = re.fullmatch(r"[\d.]+|\[[\da-f:.]+\]", name) and host not in LOCAL
    return bool(number) or name in (*LOCAL, host, socket.gethostname().lower())


def listen(port: int, host: str) -> tuple[int, list[socket.socket]]:
    """Sockets at this port, or at the next one that is free."""
    from tornado.netutil import bind_sockets

    try:
        return port, bind_sockets(port, host)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return listen(port + 1, host)


def own_address() -> str:
    """The address of this computer in its network; nothing is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return socket.gethostname()
