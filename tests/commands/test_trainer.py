from pathlib import Path

import pytest
import torch

from fashion_transfer.commands.trainer import AtomicCheckpointIO


def test_checkpoint_is_written_as_torch_saves_it(tmp_path):
    path = tmp_path / "checkpoints" / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 3}, path)
    assert torch.load(path, weights_only=True) == {"epoch": 3}


def test_checkpoint_that_cannot_be_written_leaves_the_one_before(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    AtomicCheckpointIO().save_checkpoint({"epoch": 3}, path)
    write = Path.write_bytes

    def disk_full(file, content):
        write(file, bytes(content)[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", disk_full)
    with pytest.raises(OSError, match=r"No space.*last\.ckpt"):
        AtomicCheckpointIO().save_checkpoint({"epoch": 4}, path)
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]
    assert torch.load(path, weights_only=True) == {"epoch": 3}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")
def test_full_disk_is_named_as_the_reason_for_a_missing_checkpoint(tmp_path, monkeypatch):
    (tmp_path / "temporary").symlink_to("/dev/full")
    monkeypatch.setattr(Path, "with_name", lambda path, name: path.parent / "temporary")
    with pytest.raises(OSError, match=r"No space left on device: '.*last\.ckpt'"):
        AtomicCheckpointIO().save_checkpoint({"weight": torch.zeros(1000)}, tmp_path / "last.ckpt")
