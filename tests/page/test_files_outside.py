"""No request gets or predicts a file of the server, or has it ask another server."""

import json
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest

pytest.importorskip("gradio")
import httpx

from fashion_transfer.page import build_page, launch

ROOT = Path(__file__).resolve().parents[2]
SECRET = "what no page may show 5f0c1d"


class Outside:
    """A server, a file with a secret, and pictures on its disk and on another server."""

    def __init__(self, server, folder: Path, draw) -> None:
        self.server = server
        self.secret = folder / "secret.txt"
        self.secret.write_text(SECRET)
        self.picture = draw(folder / "picture.png")
        self.folder = server.page.fashion_transfer.uploads.folder
        self.link = self.folder / "link.txt"
        self.link.symlink_to(self.secret)
        self.waiting = self.folder / "waiting.png"
        self.waiting.write_bytes(self.picture.read_bytes())
        self.asked: list[str] = []
        asked = self.asked

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(draw(folder / "served.png").read_bytes())

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        self.site = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.site.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.site.server_port}/served.png"

    def close(self) -> None:
        self.site.shutdown()
        self.site.server_close()
        self.link.unlink()
        self.waiting.unlink()


@pytest.fixture(scope="module")
def outside(tiny_classifier, tmp_path_factory, draw):
    page = build_page(tiny_classifier, flags=tmp_path_factory.mktemp("flags"))
    with launch(page, port=0) as server:
        there = Outside(server, tmp_path_factory.mktemp("outside"), draw)
        yield there
        there.close()


def raw(server, method: str, target: str, *headers: str) -> bytes:
    """The response to a request whose target is sent as it is: clients would tidy it up."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: 127.0.0.1:{server.port}", *headers]
    lines += ["Connection: close", "", ""]
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall("\r\n".join(lines).encode())
        parts = []
        while part := connection.recv(2**16):
            parts.append(part)
    return b"".join(parts)


# A target per case: {path} is a file's absolute path, {encoded} the same in per cent, {twice} twice
# so, {relative} the way there from a folder deep in the package, {name} its name.
TARGETS = {
    "as it is": "{path}",
    "behind a slash": "/{path}",
    "file=": "/gradio_api/file={path}",
    "file= encoded": "/gradio_api/file={encoded}",
    "file= twice encoded": "/gradio_api/file={twice}",
    "file= relative": "/gradio_api/file={relative}",
    "file= relative encoded": "/gradio_api/file={relative_encoded}",
    "file= by the user's folder": "/gradio_api/file=~{path}",
    "file= with a null byte": "/gradio_api/file={path}%00.png",
    "file= as an address": "/gradio_api/file=file://{path}",
    "file= as a local address": "/gradio_api/file=http://127.0.0.1:{port}/config",
    "file= upper case": "/gradio_api/FILE={path}",
    "file= with an equals sign encoded": "/gradio_api/file%3D{path}",
    "old file=": "/file={path}",
    "old file= encoded": "/file={encoded}",
    "file/": "/gradio_api/file/{path}",
    "file/ encoded": "/gradio_api/file/{encoded}",
    "old file/": "/file/{path}",
    "waiting upload": "/gradio_api/file={waiting}",
    "link in the folder of uploads": "/gradio_api/file={link}",
    "upload as a path": "/gradio_api/upload/{path}",
    "static ..": "/static/{relative}",
    "static .. encoded": "/static/{relative_encoded}",
    "static .. twice encoded": "/static/{relative_twice}",
    "static backslash": "/static/..\\..\\..\\..\\..\\..\\..\\..{path}",
    "static backslash encoded": "/static/..%5c..%5c..%5c..%5c..%5c..%5c..%5c..{path}",
    "static absolute": "/static/{path}",
    "static dot segments": "/static/./.././../{relative}",
    "static ....//": "/static/....//....//....//....//{path}",
    "static overlong": "/static/%c0%ae%c0%ae/%c0%ae%c0%ae{path}",
    "static semicolon": "/static/..;/..;/..;{path}",
    "assets ..": "/assets/{relative}",
    "assets .. encoded": "/assets/{relative_encoded}",
    "assets absolute": "/assets/{path}",
    "svelte ..": "/svelte/{relative}",
    "svelte absolute": "/svelte/{path}",
    "theme": "/theme.css/{relative}",
    "custom component": "/gradio_api/custom_component/x/client/component/{relative_encoded}",
    "proxy of a file": "/gradio_api/proxy=file://{path}",
    "proxy of a server": "/gradio_api/proxy={address}",
    "stream": "/gradio_api/stream/x/y/1/playlist.m3u8",
    "stream file": "/gradio_api/stream/x/y/1/playlist-file",
    "stream segment": "/gradio_api/stream/x/y/1/{relative_encoded}.ts",
    "deep link": "/gradio_api/deep_link?session_hash=x",
    "page of a deep link": "/?deep_link={relative_encoded}",
    "page by name": "/config?page={path}",
    "settings of a deep link": "/config?deep_link={relative_encoded}",
    "pwa icon": "/pwa_icon/{relative_encoded}",
    "reload": "/gradio_api/dev/reload",
    "monitoring": "/monitoring/{encoded}",
    "run history": "/gradio_api/run-history/records/x/y/assets/{relative_encoded}",
    "code of the page": "/gradio_api/vibe-code/",
    "component server": "/gradio_api/component_server?fn_name=ls&path={path}",
    "upload progress": "/gradio_api/upload_progress?upload_id={path}",
    "heartbeat": "/gradio_api/heartbeat/{relative_encoded}",
    "absolute target": "http://127.0.0.1:{port}/gradio_api/file={path}",
    "double slash": "//gradio_api/file={path}",
    "slash at the end": "/gradio_api/file={path}/",
    "query": "/gradio_api/file?path={path}",
    "parameters": "/gradio_api/file=;{path}",
    "other case": "/Gradio_Api/File={path}",
}


def filled(target: str, outside: Outside, path: Path) -> str:
    relative = "../" * 12 + str(path).lstrip("/")
    return target.format(
        path=path,
        encoded=quote(str(path), safe=""),
        twice=quote(quote(str(path), safe=""), safe=""),
        relative=relative,
        relative_encoded=quote(relative, safe="").replace(".", "%2e"),
        relative_twice=quote(quote(relative, safe="").replace(".", "%2e"), safe=""),
        waiting=outside.waiting,
        link=outside.link,
        address=outside.address,
        port=outside.server.port,
    )


def test_there_are_forty_kinds_of_requests():
    assert len(TARGETS) >= 40


@pytest.mark.parametrize("case", TARGETS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_request_for_a_file_gets_none(outside, method, case):
    for path in (outside.secret, ROOT / "conf" / "app.yaml", Path("/etc/passwd")):
        response = raw(outside.server, method, filled(TARGETS[case], outside, path))
        assert SECRET.encode() not in response
        assert b"root:" not in response
        assert b"ckpt_path" not in response
        assert b"\x89PNG" not in response
    assert outside.asked == []


META = {"_type": "gradio.FileData"}

# What a request in JSON may put in the place of an upload, by its name.
GIVEN = {
    "path": lambda it: {"path": str(it.picture), "meta": META},
    "path without meta": lambda it: {"path": str(it.picture)},
    "path as text": lambda it: str(it.picture),
    "relative path": lambda it: {"path": os.path.relpath(it.picture), "meta": META},
    "path out of the folder": lambda it: {"path": f"{it.folder}/..{it.picture}", "meta": META},
    "waiting picture": lambda it: {"path": str(it.waiting), "meta": META},
    "waiting picture's name": lambda it: {"path": it.waiting.stem, "meta": META},
    "stream": lambda it: {"path": str(it.picture), "is_stream": True, "meta": META},
    "original name": lambda it: {"path": "x", "orig_name": str(it.picture), "meta": META},
    "file address": lambda it: {"path": f"file://{it.picture}", "meta": META},
    "web address": lambda it: {"path": it.address, "meta": META},
    "web address beside": lambda it: {"path": "x", "url": it.address, "meta": META},
    "web address alone": lambda it: {"url": it.address, "meta": META},
    "own address": lambda it: {"path": f"{it.server.url}config", "meta": META},
    "gradio's path": lambda it: {"path": f"/gradio_api/file={it.picture}", "meta": META},
    "token": lambda it: {"upload": str(it.picture)},
    "token that is a list": lambda it: {"upload": [str(it.picture)]},
    "nested": lambda it: {"path": {"path": str(it.picture), "meta": META}, "meta": META},
    "list": lambda it: [{"path": str(it.picture), "meta": META}],
    "password file": lambda it: {"path": "/etc/passwd", "meta": META},
    "configuration": lambda it: {"path": str(ROOT / "conf" / "app.yaml"), "meta": META},
    "nothing": lambda it: None,
    "number": lambda it: 7,
}


@pytest.mark.parametrize("case", GIVEN)
def test_file_that_was_not_uploaded_is_not_predicted(outside, case):
    rows = predict(outside.server, [GIVEN[case](outside)])
    assert [row["label"] for row in rows] == [None]
    assert rows[0]["error"].startswith("this picture did not arrive here")
    assert str(outside.picture.parent) not in json.dumps(rows)
    assert outside.asked == []
    assert outside.waiting.exists()


def test_single_file_that_was_not_uploaded_is_not_predicted(outside):
    rows = predict(outside.server, {"path": str(outside.picture)})
    assert [row["label"] for row in rows] == [None]


def predict(server, files):
    api = f"{server.url}gradio_api/call/predict"
    started = httpx.post(api, json={"data": [files]}, timeout=30)
    assert started.status_code == 200
    lines = httpx.get(f"{api}/{started.json()['event_id']}", timeout=30).text.splitlines()
    assert "event: complete" in lines
    [rows] = json.loads(lines[lines.index("event: complete") + 1].removeprefix("data: "))
    return rows


@pytest.mark.parametrize(
    "path", ["run/predict", "api/predict", "call/show", "call/flag", "run/show"]
)
def test_ways_past_the_queue_are_closed(outside, path):
    body = {"data": [[{"path": str(outside.picture)}]], "fn_index": 0}
    response = httpx.post(f"{outside.server.url}gradio_api/{path}", json=body)
    assert response.status_code == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "CONNECT"])
def test_other_methods_are_refused(outside, method):
    response = raw(outside.server, method, "/config")
    assert b" 404 " in response or b" 400 " in response


# ---- other sites


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Host": "evil.example"},
    ],
)
def test_other_sites_cannot_use_the_page(outside, headers):
    uploads = outside.server.page.fashion_transfer.uploads
    files = {"files": ("a.png", outside.picture.read_bytes())}
    response = httpx.post(f"{outside.server.url}gradio_api/upload", files=files, headers=headers)
    assert response.status_code == 403
    assert len(uploads) == 0


def test_browser_is_kept_from_asking_elsewhere(outside):
    headers = httpx.get(outside.server.url).headers
    policy = dict(
        part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";")
    )
    assert policy["default-src"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert policy["frame-ancestors"] == "'self'"
    assert not any("http" in value or "*" in value for value in policy.values())
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


def test_page_in_a_notebook_may_be_framed(tiny_classifier):
    with launch(build_page(tiny_classifier), port=0, embedded=True) as server:
        headers = httpx.get(server.url).headers
        assert "frame-ancestors" not in headers["content-security-policy"]
        assert httpx.get(server.url, headers={"Host": "abc.proxy.example"}).status_code == 200


@pytest.mark.parametrize("body", [b"", b"[", b"\xff", b"[" * 100_000, b'"' + b"a" * 2**20 + b'"'])
def test_body_that_is_no_json_is_refused(outside, body):
    address = f"{outside.server.url}gradio_api/queue/join"
    headers = {"Content-Type": "application/json"}
    response = httpx.post(address, content=body, headers=headers)
    assert response.status_code == 400
    assert "Traceback" not in response.text
