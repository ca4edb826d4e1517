"""The class-picker as a web page: `aetherfusion picker`. No lesson builds it."""

import tempfile
from pathlib import Path
from typing import Annotated

from typer import Option, echo

from ..checkpoint import load_model

Weights = Annotated[Path | None, Option(help="A model file, instead of the pretrained model.")]


def picker(
    weights: Weights = None,
    host: Annotated[str, Option(help="0.0.0.0 opens the page to the network.")] = "127.0.0.1",
    port: Annotated[int, Option(min=1, max=65535, help="Or the next free one.")] = 8866,
    browser: Annotated[bool, Option(help="Open the page here.")] = True,
) -> None:
    """Show a web page on which classes are picked; F11 and Ctrl-+ suit a projector."""
    from nbformat import v4, write
    from tornado.ioloop import IOLoop
    from voila.app import Voila

    if weights is not None:
        load_model(weights)  # reports here what is wrong with it
    code = f"""from aetherfusion import load_model
from aetherfusion.widgets import ClassPicker
weights = {weights and str(weights.resolve())!r}
ClassPicker(weights and load_model(weights), folder={str(Path.cwd())!r})"""
    with tempfile.TemporaryDirectory() as folder:
        notebook = Path(folder, "AetherFusion.ipynb")
        cells = [v4.new_markdown_cell("# Images out of noise"), v4.new_code_cell(code)]
        write(v4.new_notebook(cells=cells), notebook)
        options = {"ip": host, "port": port, "open_browser": browser, "log_level": "ERROR"}
        # The kernel of a page that was left before it had loaded is ended after ten minutes.
        cull = "--MappingKernelManager.cull_idle_timeout=600"
        page = Voila()
        page.initialize([str(notebook), cull, *(f"--Voila.{k}={v}" for k, v in options.items())])
        if host not in ("127.0.0.1", "localhost", "::1"):
            echo("Everyone on the network can open the page, without a password.")
        IOLoop.current().add_callback(lambda: echo(f"Serving {page.display_url} until Ctrl-C."))
        page.start()  # at the first free port
