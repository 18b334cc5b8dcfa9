"""onnxruntime as it is imported here."""

import os
import sys
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from fashion_transfer.data import onnx_session
from fashion_transfer.data.onnx_session import import_onnxruntime, open_session


def test_onnxruntime_is_imported_without_its_telemetry(tmp_path, monkeypatch):
    monkeypatch.setenv("ORT_DISABLE_TELEMETRY", "0")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    del sys.modules["onnxruntime"]  # and afterwards it is what it was before
    monkeypatch.syspath_prepend(tmp_path)
    content = "import os\ndisabled = os.environ['ORT_DISABLE_TELEMETRY']\n"
    (tmp_path / "onnxruntime.py").write_text(content)
    assert import_onnxruntime().disabled == "1"


@pytest.mark.parametrize(("allowed", "threads"), [({1}, 1), ({0, 3}, 2), (set(range(8)), 0)])
def test_network_has_a_thread_per_core_that_it_may_use(monkeypatch, allowed, threads):
    options = SimpleNamespace(intra_op_num_threads=0, add_session_config_entry=MagicMock())
    onnxruntime = MagicMock(SessionOptions=lambda: options)
    monkeypatch.setattr(onnx_session, "import_onnxruntime", lambda: onnxruntime)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: allowed, raising=False)
    open_session("network.onnx")
    assert options.intra_op_num_threads == threads
