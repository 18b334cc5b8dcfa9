"""What reaches Gradio: the requests that the page needs, without any file path in them.

Gradio serves files and fetches addresses that a request names. The page needs neither. So only a
short list of requests is let through, and in their JSON a file is no more than the token of an
upload, which `Uploads` gives once.
"""

import json
import re
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

API = "/gradio_api"
UPLOAD_PATH = f"{API}/upload"
TOKEN = "upload"
"""Key of an upload's token, in place of a file's `path`."""

_NAME = r"[\w.-]+"
ALLOWED = {
    "GET": (
        r"/",
        r"/config/?",
        r"/theme\.css",
        r"/favicon\.ico",
        r"/manifest\.json",
        r"/robots\.txt",
        rf"/(?:assets|static|svelte)(?:/{_NAME})+",
        rf"{API}/info/?",
        rf"{API}/openapi\.json",
        rf"{API}/startup-events",
        rf"{API}/app_id/?",
        rf"{API}/heartbeat/{_NAME}",
        rf"{API}/queue/(?:data|status)",
        rf"{API}/call/(?:v2/)?predict/{_NAME}",
    ),
    "POST": (
        UPLOAD_PATH,
        rf"{API}/queue/join/?",
        rf"{API}/call/(?:v2/)?predict/?",
        rf"{API}/cancel",
        rf"{API}/reset/?",
    ),
}
"""Paths that are let through, by method; HEAD is as GET."""

_ALLOWED = {
    method: re.compile("|".join(paths), re.ASCII).fullmatch for method, paths in ALLOWED.items()
}

MAX_JSON = 2**20
"""Bytes of a request in JSON. It holds tokens, no pictures."""

LOOPBACK = {"localhost", "127.0.0.1", "::1"}

POLICY = {
    "default-src": "'none'",
    # Gradio's page has inline scripts and styles, and compiles the templates of gr.HTML.
    "script-src": "'self' 'unsafe-inline' 'unsafe-eval'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "media-src": "'self' blob:",
    "font-src": "'self' data:",
    "connect-src": "'self'",
    "manifest-src": "'self'",
    "worker-src": "'self' blob:",
    "base-uri": "'self'",
    "form-action": "'none'",
    "frame-ancestors": "'self'",
}
"""Where the browser may get things from, and send them to: here, and nowhere else."""


class Guard:
    """Lets the requests through that the page needs, and adds headers that protect it.

    Args:
        app: the page.
        hosts: names that the page may be called by; empty: any.
        embedded: whether pages of other sites may show it in a frame, as notebooks do.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str] = (), embedded: bool = False) -> None:
        self.app = app
        self.hosts = set(hosts)
        policy = {k: v for k, v in POLICY.items() if not (embedded and k == "frame-ancestors")}
        headers = {
            "content-security-policy": "; ".join(f"{k} {v}" for k, v in policy.items()),
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "permissions-policy": "camera=(self), microphone=(), geolocation=()",
        }
        self.headers = [(k.encode(), v.encode()) for k, v in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, as ASGI has it."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # no websockets
        send = self._with_headers(send)
        if (refusal := self._refusal(scope)) is not None:
            await respond(send, *refusal)
            return
        if scope["method"] == "POST" and scope["path"] != UPLOAD_PATH:
            body = await read_body(receive, MAX_JSON)
            try:
                if body is None:
                    raise ValueError
                content = json.dumps(without_paths(json.loads(body))).encode()
            except (ValueError, RecursionError):
                await respond(send, 400, "This is not the JSON of a request that is known here.")
                return
            scope = {**scope, "headers": _with_length(scope["headers"], len(content))}
            receive = _replay(content, receive)
        await self.app(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Status and reason, if a request is not let through."""
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        headers = {key: value.decode("latin-1") for key, value in scope["headers"]}
        host = _host_name(headers.get(b"host", ""))
        if self.hosts and host not in self.hosts:
            return 403, "This page has another address."
        raw = scope.get("raw_path") or b""
        path = scope["path"]
        plain = ".." not in path and b"%" not in raw and b"\\" not in raw
        if method not in _ALLOWED or not plain or not _ALLOWED[method](path):
            return 404, "There is nothing here."
        # Any site that is open in a browser can send requests to this machine.
        site, origin = headers.get(b"sec-fetch-site", ""), headers.get(b"origin")
        if method == "POST" and (
            site in ("cross-site", "same-site")
            or (not site and origin is not None and _host_name(urlsplit(origin).netloc) != host)
        ):
            return 403, "Other sites may not use this page."
        return None

    def _with_headers(self, send: Send) -> Send:
        async def wrapped(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *self.headers]}
            await send(message)

        return wrapped


def without_paths(value: Any) -> Any:
    """Returns JSON with the key `path` renamed to `upload`: for Gradio, nothing is a file then."""
    if isinstance(value, dict):
        return {TOKEN if k == "path" else k: without_paths(v) for k, v in value.items()}
    return [without_paths(entry) for entry in value] if isinstance(value, list) else value


async def read_body(receive: Receive, limit: int) -> bytes | None:
    """Returns the body of a request; None if it is longer than `limit`, or was broken off."""
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > limit:
            return None
    return bytes(body)


async def respond(send: Send, status: int, text: str) -> None:
    """Sends a short text, also as the `detail` of Gradio's own errors."""
    body = json.dumps({"detail": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body, and then what comes after it."""
    waiting = [body]

    async def replayed() -> Message:
        if waiting:
            return {"type": "http.request", "body": waiting.pop(), "more_body": False}
        return await receive()

    return replayed


def _with_length(headers: list[tuple[bytes, bytes]], length: int) -> list[tuple[bytes, bytes]]:
    others = [(k, v) for k, v in headers if k not in (b"content-length", b"transfer-encoding")]
    return [*others, (b"content-length", b"%d" % length)]


def _host_name(host: str) -> str:
    """The name in a Host header, without port and brackets."""
    name = host.rpartition(":")[0] if re.search(r":\d*$", host) else host
    return name.strip("[]").lower()
