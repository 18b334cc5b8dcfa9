"""The commands on a GPU give what they give on a CPU; skipped where there is none."""

import csv

import pytest
import torch
from outcomes import of_test, only_run, read_metrics, same_state, state_of, without_seconds
from PIL import Image

from fashion_transfer.data.idx_files import load_pair

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
]

GPU = "trainer.accelerator=gpu"
BACKBONE = "model.backbone.precision=float32"


@pytest.fixture(scope="module")
def gpu_run(train, tmp_path_factory):
    """A training run on the GPU; do not change it."""
    return train(tmp_path_factory.mktemp("gpu") / "logs", GPU)


@pytest.fixture(scope="module")
def evaluation(run, train, gpu_run, idx_dir, tmp_path_factory):
    """Metrics of an evaluation on the GPU, with four images per synthetic set."""
    plain = ("data.synthetic=null", "trainer.max_epochs=1", "test=false")
    reference = train(tmp_path_factory.mktemp("reference") / "logs", GPU, *plain)
    logs = tmp_path_factory.mktemp("evaluated")
    data = (f"data.dir={idx_dir}", "data.check_md5=false", "mnist=null", "images_per_set=4")
    checkpoints = (f"ckpt_path={gpu_run.best}", f"reference={reference.best}")
    given = (*checkpoints, *data, BACKBONE, "device=cuda", f"paths.logs={logs}")
    run("evaluate.py", *given).succeeded()
    return read_metrics(only_run(logs, "evaluate"))


def test_training_on_a_gpu_gives_the_metrics_of_a_cpu(gpu_run, trained):
    on_gpu, on_cpu = of_test(gpu_run.metrics), of_test(trained.metrics)
    assert on_gpu["test/loss"] == pytest.approx(on_cpu["test/loss"], rel=0.02)
    assert on_gpu["test/accuracy"] == pytest.approx(on_cpu["test/accuracy"], abs=0.05)


def test_training_on_a_gpu_twice_gives_the_same_run(gpu_run, train, tmp_path):
    again = train(tmp_path / "logs", GPU)
    assert same_state(state_of(again.best), state_of(gpu_run.best))
    assert without_seconds(again.metrics) == without_seconds(gpu_run.metrics)


def test_evaluation_on_a_gpu_gives_the_test_metrics_of_training(evaluation, gpu_run):
    expected = of_test(gpu_run.metrics)
    assert {name: evaluation[name] for name in expected} == pytest.approx(expected, abs=1e-3)
    assert {"reference/test/accuracy", "multi_item/auroc"} <= evaluation.keys()


def test_command_on_a_cpu_does_not_warn_of_a_gpu_that_is_not_used(run, tiny, plain, tmp_path):
    ran = run("train.py", *tiny(tmp_path / "logs", *plain, "test=false")).succeeded()
    assert "GPU" not in ran.out + ran.err


@pytest.mark.parametrize("training", ["gpu", "cpu"])
def test_predictions_of_a_gpu_are_those_of_a_cpu(
    run, gpu_run, trained, idx_dir, tmp_path, training
):
    images = load_pair(idx_dir, train=False, check_md5=False).images[:12]
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{number:02d}.png")
    checkpoint = gpu_run.best if training == "gpu" else trained.best
    rows = {}
    for device in ("cuda", "cpu"):
        logs = tmp_path / device
        given = (f"ckpt_path={checkpoint}", f"paths.logs={logs}", BACKBONE, f"device={device}")
        run("predict.py", *sorted(tmp_path.glob("*.png")), *given).succeeded()
        with (only_run(logs, "predict") / "predictions.csv").open(newline="") as file:
            rows[device] = list(csv.DictReader(file))
    for on_gpu, on_cpu in zip(rows["cuda"], rows["cpu"], strict=True):
        assert float(on_gpu["confidence"]) == pytest.approx(float(on_cpu["confidence"]), abs=0.01)


def test_continued_run_on_a_gpu_equals_one_that_never_stopped(gpu_run, train, tmp_path):
    more = (GPU, "model/scheduler=none")
    straight = train(tmp_path / "straight", *more)
    stopped = train(tmp_path / "stopped", *more, "trainer.max_epochs=1")
    continued = train(tmp_path / "continued", *more, f"ckpt_path={stopped.last}")
    assert same_state(state_of(continued.last), state_of(straight.last))


@pytest.mark.parametrize(
    "more",
    [
        ("model.backbone.precision=auto",),
        ("model.backbone.unfreeze=layer3", "model.backbone.pool=[layer3,layer4]"),
        ("model.backbone.mirror=true",),
        ("store=false",),
        ("data.num_workers=1", "store=false"),
        ("model/optimizer=lbfgs", "model.mixup=0"),
        ("trainer=ddp", "trainer.devices=1", "trainer.max_epochs=2"),
    ],
    ids=lambda more: more[0],
)
def test_option_of_training_works_on_a_gpu(train, tmp_path, more):
    assert 0 <= train(tmp_path / "logs", GPU, *more).metrics["test/accuracy"] <= 1
