"""A page for the room: the class-picker as a web page, without a notebook around it.

Owns: `serve`, behind `aetherfusion picker`. Voilà runs a notebook of two cells, made for the
occasion, and shows what it shows. Every page that is opened has a kernel and a model of its own.
"""

import errno
import json
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

HEADING = "# Pictures out of noise"
TITLE = "AetherFusion"
LOCAL = ("127.0.0.1", "localhost", "::1")
LEFT_ALONE = 600  # seconds until the kernel of a page that nobody shows any more is ended


def serve(
    weights: Path | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8866,
    open_browser: bool = True,
    say: Callable[[str], Any] = print,
) -> None:
    """Serves the class-picker until Ctrl-C.

    Args:
        weights: a model file; None for the pretrained one.
        host: the address to listen at. 127.0.0.1 is heard by this computer only, 0.0.0.0 by
            whoever reaches it over the network.
        port: the first one to try; the next free one is taken.
        open_browser: whether to open the page here.
        say: what to do with lines for the user.

    Raises:
        ValueError: if Voilà is not installed, no port is free, or `host` is not of this computer.
    """
    try:
        from voila.app import Voila
    except ImportError as error:
        raise ValueError(
            "the page needs Voilà: python -m pip install 'aetherfusion[notebooks]'"
        ) from error
    port = _free_port(host, port)
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    here = f"[{here}]" if ":" in here else here
    say(f"The class-picker is at http://{here}:{port}/ - stop it with Ctrl-C.")
    if host in LOCAL:
        say("Only this computer can open it.")
    else:
        say(
            "Everyone who can reach this computer can open it, without a password and unencrypted. "
            "A page can make pictures, save them into this folder and run nothing else; each one "
            "takes about 0.7 GB of memory."
        )
    with tempfile.TemporaryDirectory() as folder:
        notebook = Path(folder) / f"{TITLE}.ipynb"
        notebook.write_text(json.dumps(_notebook(weights, Path.cwd())), encoding="utf-8")
        Voila.launch_instance(
            [
                str(notebook),
                f"--Voila.ip={host}",
                f"--Voila.port={port}",
                "--Voila.port_retries=0",
                f"--Voila.open_browser={open_browser}",
                "--Voila.log_level=ERROR",
                # A page that was left before it had loaded never says that it is gone.
                f"--MappingKernelManager.cull_idle_timeout={LEFT_ALONE}",
                f"--MappingKernelManager.cull_interval={LEFT_ALONE // 10}",
            ]
        )


def _notebook(weights: Path | None, folder: Path) -> dict[str, Any]:
    """The notebook behind the page; the kernel stands elsewhere, so paths are absolute."""
    model = "None" if weights is None else f"load_model({str(weights.resolve())!r})"
    code = [
        "from aetherfusion import load_model",
        "from aetherfusion.widgets import ClassPicker",
        f"ClassPicker({model}, folder={str(folder)!r})",
    ]
    cells: list[dict[str, Any]] = [
        {"cell_type": "markdown", "id": "heading", "metadata": {}, "source": HEADING},
        {
            "cell_type": "code",
            "id": "picker",
            "metadata": {},
            "source": "\n".join(code),
            "execution_count": None,
            "outputs": [],
        },
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def _free_port(host: str, first: int) -> int:
    """The first port from `first` on at which nobody listens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in range(first, min(first + 50, 65536)):
        with socket.socket(family) as probe:
            if os.name != "nt":  # there it would let a port be shared
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as error:
                if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
                    raise ValueError(
                        f"this computer has no address {host!r}; --host takes 127.0.0.1 (only this "
                        "computer), 0.0.0.0 (all of its network) or an address of its own"
                    ) from error
                continue
        return port
    raise ValueError(f"no port from {first} on is free; choose another with --port")
