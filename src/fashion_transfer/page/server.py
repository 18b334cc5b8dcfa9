"""The page's own server: Gradio behind a guard, on a port of this machine."""

import asyncio
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.page.environment import import_gradio
from fashion_transfer.page.guard import LOOPBACK, UPLOAD_PATH, Guard
from fashion_transfer.page.markup import read_asset
from fashion_transfer.page.upload_route import MEGABYTE, upload_route

HOST, PORT = "127.0.0.1", 7860

PORTS = 100
"""That are tried from `PORT` on."""

SWEEP_EVERY = 60.0
"""Seconds between two looks for pictures that nobody asked about."""

START_TIMEOUT, STOP_TIMEOUT = 60.0, 10.0
"""Seconds to wait for the server to start, and to end."""

FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
MONOSPACE = ("ui-monospace", "Consolas", "monospace")


class PageServer:
    """A page that is served, by a thread of its own.

    Args:
        page: of `build_page`.
        listening: the socket; it is closed with the server.
        host: as it was named.
        embedded: whether pages of other sites may show it in a frame.

    Attributes:
        port: where it is served.
        url: for a browser on this machine.
    """

    def __init__(
        self, page: Any, listening: socket.socket, host: str, embedded: bool = False
    ) -> None:
        import uvicorn

        self.page = page
        self.port: int = listening.getsockname()[1]
        name = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(host, host)
        self.url = f"http://{name}:{self.port}/"
        # A browser that was led here under another name may belong to another site.
        hosts = LOOPBACK if host in LOOPBACK and not embedded else ()
        app = Guard(_application(page), hosts, embedded)
        config = uvicorn.Config(app, log_level="error", access_log=False, ws="none")
        self._server = uvicorn.Server(config)
        self._socket = listening
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="page", daemon=True)

    def start(self) -> None:
        """Starts to serve.

        Raises:
            FashionTransferError: the server does not start.
        """
        self._thread.start()
        end = time.monotonic() + START_TIMEOUT
        while not self._server.started:
            if self._ended.is_set() or time.monotonic() > end:
                self.close()
                raise FashionTransferError(f"the page could not be served at {self.url}")
            time.sleep(0.01)

    def wait(self) -> None:
        """Returns once the server has ended; Ctrl-C ends it."""
        try:
            while not self._ended.wait(0.5):  # an interrupted `join` takes the thread for ended
                pass
        except KeyboardInterrupt:
            pass
        finally:
            self.close()

    def close(self) -> None:
        """Ends the server, and deletes the pictures that wait."""
        # Browsers hold connections while their page is open: these are cut, without a word.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self._server.should_exit = self._server.force_exit = True
        if self._thread.ident is None or self._ended.wait(STOP_TIMEOUT):
            self._socket.close()
        self.page.fashion_transfer.close()

    def __enter__(self) -> "PageServer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def show(self, height: int = 900) -> None:
        """Shows the page below a notebook's cell, in Jupyter and in Colab.

        Args:
            height: pixels.
        """
        try:
            from google.colab import output  # type: ignore[import-not-found,unused-ignore]
        except ImportError:
            from IPython.display import IFrame, display

            display(IFrame(self.url, "100%", height))  # type: ignore[no-untyped-call]
        else:
            output.serve_kernel_port_as_iframe(self.port, height=str(height))

    def _run(self) -> None:
        try:
            asyncio.run(self._server.serve(sockets=[self._socket]))
        finally:
            self._ended.set()


def launch(
    page: Any,
    host: str = HOST,
    port: int | None = None,
    *,
    embedded: bool = False,
) -> PageServer:
    """Serves a page, and returns at once; `PageServer.wait` waits for Ctrl-C.

    Args:
        page: of `build_page`.
        host: address to serve at; `127.0.0.1` is this machine alone, `0.0.0.0` the whole network.
        port: to serve at; None: 7860, or the next one that is free.
        embedded: whether it is shown in a frame of another site, as in a notebook.

    Raises:
        FashionTransferError: the address or the port cannot be used.
    """
    server = PageServer(page, _listen(host, port), host, embedded)
    server.start()
    return server


def _application(page: Any) -> Any:
    """The page as an ASGI application."""
    gr = import_gradio()
    from fastapi import FastAPI
    from starlette.routing import Route

    own = page.fashion_transfer

    @asynccontextmanager
    async def sweeping(_: Any) -> AsyncIterator[None]:
        async def sweep() -> None:
            while True:
                await asyncio.sleep(SWEEP_EVERY)
                await asyncio.to_thread(own.uploads.sweep)

        task = asyncio.create_task(sweep())
        yield
        task.cancel()

    upload = upload_route(own.uploads, own.max_pictures, own.max_megabytes)
    app = FastAPI(
        routes=[Route(UPLOAD_PATH, upload, methods=["POST"])],
        lifespan=sweeping,
        openapi_url=None,
    )
    app = gr.mount_gradio_app(
        app,
        page,
        "/",
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=int(own.max_megabytes * MEGABYTE),
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=gr.themes.Default(font=FONTS, font_mono=MONOSPACE),
        css=read_asset("page.css"),
    )
    # In the protocol after it, Gradio's client takes every object with a `path` for a file that it
    # is to download, such as the rows of predictions.
    page.config["protocol"] = "sse_v2.1"
    return app


def _listen(host: str, port: int | None) -> socket.socket:
    """A socket that listens at the port, or at the first free one.

    Raises:
        FashionTransferError: none can be used.
    """
    if port is not None and (not isinstance(port, int) or not 0 <= port < 2**16):
        raise FashionTransferError(f"port must be a whole number from 0 to 65535, got {port!r}")
    reason = ""
    for number in range(PORT, PORT + PORTS) if port is None else [port]:
        try:
            family, *_, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
            listening = socket.socket(family, socket.SOCK_STREAM)
            try:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listening.bind(address)
                listening.listen(128)
            except OSError:
                listening.close()
                raise
            return listening
        except socket.gaierror:
            raise FashionTransferError(f"host={host} is no address of this machine") from None
        except OSError as error:
            reason = error.strerror or type(error).__name__
    place = f"port={port}" if port is not None else f"no port from {PORT} to {PORT + PORTS - 1}"
    raise FashionTransferError(
        f"{place} of host={host} can be used ({reason}): name another one with port=N"
        if port is None
        else f"{place} of host={host} cannot be used ({reason}): name another one, or none"
    )
