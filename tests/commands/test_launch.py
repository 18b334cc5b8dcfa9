"""Several processes: what is refused before anything starts, and how an end is reported."""

import json

import pytest

from fashion_transfer.commands import launch
from fashion_transfer.errors import FashionTransferError

DDP = "trainer=ddp_cpu"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([DDP, "data.batch_size=15"], "data.batch_size=15 is that of all 2 processes"),
        ([DDP, "data.batch_size=1"], "use 2"),
        ([DDP, "model/optimizer=lbfgs", "model.mixup=0"], "model/optimizer=lbfgs needs"),
        ([DDP, "trainer.num_nodes=2", "data.batch_size=16"], "use torchrun or srun"),
        ([DDP, "trainer.use_distributed_sampler=true"], "use_distributed_sampler must be false"),
        ([DDP, "+trainer.overfit_batches=1"], "overfit_batches needs one device"),
        ([DDP, "trainer.devices=64", "data.batch_size=64"], "trainer.devices=64 is over the"),
        (["trainer=gpu"], "gpu"),
        (["trainer=ddp"], "gpu"),
    ],
)
def test_what_several_processes_cannot_do_is_one_line(run, tiny, tmp_path, arguments, message):
    import torch

    if arguments[0] in ("trainer=gpu", "trainer=ddp") and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    # The later `trainer` group would not undo what `tiny` sets for its tests.
    common = [a for a in tiny(tmp_path / "logs") if not a.startswith("trainer.accelerator")]
    assert message in run("train.py", *common, *arguments).mistake()
    [folder] = (tmp_path / "logs").glob("train/runs/*")
    assert not (folder / "metrics.json").exists()
    assert not (folder / "checkpoints").exists()


def note(folder, rank, time, text="some text", traceback=False):
    content = {"time": time, "text": text, "traceback": traceback}
    (folder / f"{rank}.json").write_text(json.dumps(content))


def test_the_first_failure_is_reported(tmp_path):
    launch._report(tmp_path, [0, 0])
    note(tmp_path, 0, 2.0, "the connection was closed", traceback=True)
    note(tmp_path, 1, 1.0, "the disk is full")
    with pytest.raises(FashionTransferError, match="^the disk is full$"):
        launch._report(tmp_path, [1, 1])


def test_a_defect_is_reported_with_its_traceback(tmp_path):
    note(tmp_path, 1, 1.0, "Traceback: ...", traceback=True)
    with pytest.raises(RuntimeError, match="process 1 of 2 failed:\nTraceback: ..."):
        launch._report(tmp_path, [None, 1])


def test_a_killed_process_is_named(tmp_path):
    with pytest.raises(FashionTransferError, match="process 1 of 2 .*killed by SIGKILL.*memory"):
        launch._report(tmp_path, [None, -9])
    note(tmp_path, 0, 1.0, "the connection was closed", traceback=True)
    with pytest.raises(FashionTransferError, match="process 1 of 2 .*killed by SIGKILL.*memory"):
        launch._report(tmp_path, [1, -9])
