"""onnxruntime as it is imported here."""

import sys

from fashion_transfer.data.onnx_session import import_onnxruntime


def test_onnxruntime_is_imported_without_its_telemetry(tmp_path, monkeypatch):
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    del sys.modules["onnxruntime"]  # and afterwards it is what it was before
    monkeypatch.syspath_prepend(tmp_path)
    content = "import os\ndisabled = os.environ['ORT_DISABLE_TELEMETRY']\n"
    (tmp_path / "onnxruntime.py").write_text(content)
    assert import_onnxruntime().disabled == "1"
