import json

import pytest

from fashion_transfer.commands.bench import Bench, row, write
from fashion_transfer.errors import FashionTransferError


@pytest.fixture
def bench(idx_dir, tmp_path):
    overrides = {
        "model.backbone.name": "resnet18",
        "model.backbone.weights": "null",
        "model.backbone.precision": "float32",
        "data.dir": idx_dir,
        "data.check_md5": "false",
        "data.images_per_class": 8,
        "data.val_per_class": 4,
        "data.image_size": 32,
        "trainer.max_epochs": 1,
        "trainer.accelerator": "cpu",
    }
    return Bench(tmp_path / "bench", [f"{key}={value}" for key, value in overrides.items()])


def test_a_job_is_timed_as_a_whole_process_on_a_store_of_its_own(bench):
    seconds, memory, (metrics,) = bench.train("default")
    # Importing torch alone takes longer and more than this.
    assert seconds > 0.5
    assert 0.1 < memory < 24
    assert 0 <= metrics["test/accuracy"] <= 1
    assert list((bench.scratch / "default" / "features").glob("*/layer4.npy"))
    assert not (bench.scratch / "logs").exists()


def test_a_command_that_fails_is_named_with_its_error(bench):
    with pytest.raises(FashionTransferError, match="images_per_class=99 asks for more"):
        bench.train("default", "data.images_per_class=99")


def test_the_table_is_printed_and_written_with_what_it_was_measured_on(tmp_path, capsys):
    rows = [row("plain loop", 100.0, "s"), row("default job, cold", 8.0, "s", 12.5)]
    write(rows, tmp_path / "deep" / "bench.json")
    assert "12.5×" in capsys.readouterr().out
    written = json.loads((tmp_path / "deep" / "bench.json").read_text())
    assert written["rows"] == rows
    assert written["machine"]["cores"] >= 1
