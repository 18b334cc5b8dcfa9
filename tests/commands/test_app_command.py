"""app.py: a real process that serves the page until Ctrl-C."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def settings(trained, tmp_path_factory):
    logs = tmp_path_factory.mktemp("logs")
    return [
        f"ckpt_path={trained.best}",
        f"paths.logs={logs}",
        "device=cpu",
        "model.backbone.precision=float32",
    ]


def started(*arguments: str) -> tuple[subprocess.Popen, str]:
    """A process of app.py and the address that it printed."""
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "app.py"), *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if address := re.search(r"http://127\.0\.0\.1:\d+/", line):
            return process, address[0]
    out, err = process.communicate()
    raise AssertionError(f"{out}\n{err}")


@pytest.mark.parametrize("signal_name", ["SIGINT", "SIGTERM"])
def test_page_is_served_until_interrupted(settings, signal_name):
    pytest.importorskip("gradio")
    import httpx

    # 7860 may be taken here: the page takes the next one then.
    process, address = started(*settings)
    try:
        assert "Ankle boot" in httpx.get(address).text
        # A browser holds such a connection for as long as its page is open.
        with httpx.stream("GET", f"{address}gradio_api/heartbeat/browser") as stream:
            assert next(stream.iter_lines()) == "data: ALIVE"
            process.send_signal(getattr(signal, signal_name))
            out, err = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0
    assert "closed" in out
    assert not err.strip()


def test_port_that_is_taken_is_a_mistake(run, settings):
    pytest.importorskip("gradio")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = run("app.py", *settings, f"port={port}").mistake()
    assert f"port={port}" in message
    assert "cannot be used" in message


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("max_pictures=0", "max_pictures must be a whole number from 1, got 0"),
        ("port=eighty", "port must be a whole number from 0 to 65535, or null, got 'eighty'"),
        ("host=no.such.host.invalid", "is no address of this machine"),
    ],
)
def test_impossible_value_is_a_mistake(run, settings, argument, message):
    pytest.importorskip("gradio")
    assert message in run("app.py", *settings, argument).mistake()


def test_missing_gradio_is_a_mistake(run, settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)
    message = run("app.py", *settings).mistake()
    assert 'run `pip install -e ".[app]"`' in message
