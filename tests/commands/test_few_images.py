"""Runs on a few images, or without a split: what cannot be estimated or measured is left out."""

import shutil

import pytest
from outcomes import only_run, read_metrics
from toy import write_toy

from fashion_transfer.runs.newest import newest_checkpoint


@pytest.fixture
def toy(tiny, plain, tmp_path) -> list[str]:
    """Arguments of a training run on 18 photos of three classes; the first four are the data."""
    write_toy(tmp_path / "photos")
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "toy.yaml").write_text(
        "defaults: [default, _self_]\n_target_: toy.ToyDataModule\ndir: ${paths.data}\n"
    )
    data = ["--config-dir", f"{tmp_path / 'conf'}", "data=toy", f"paths.data={tmp_path / 'photos'}"]
    # The others are keys of Fashion-MNIST.
    given = tiny(tmp_path / "logs", *plain)
    return [*data, *(a for a in given if not a.startswith("data.") or "image_size" in a)]


@pytest.mark.parametrize(("per_class", "images"), [(0, 0), (2, 20)])
def test_too_few_validation_images_leave_out_what_is_said_once_and_stored(
    run, tiny, plain, tmp_path, per_class, images
):
    few = (f"data.val_per_class={per_class}", "policy.threshold=auto")
    out = run("train.py", *tiny(tmp_path, *plain, *few)).succeeded().out
    assert out.count(f"fewer than 50 validation images were seen ({images})") == 1
    metrics = read_metrics(only_run(tmp_path))
    names = "temperature, OOD limit, automatic threshold"
    assert metrics["calibration/left_out"] == names
    assert metrics["calibration/images"] == images
    assert (metrics["test/temperature"], metrics["test/threshold"]) == (1, pytest.approx(0.8))
    best = newest_checkpoint(tmp_path)
    message = run("evaluate.py", f"ckpt_path={best}", "policy.threshold=auto").mistake()
    assert "so threshold=auto cannot be fitted: give a number, such as 0.8" in message


def test_enough_validation_images_leave_nothing_out(trained):
    assert trained.metrics["calibration/images"] == 50
    assert "calibration/left_out" not in trained.metrics


def test_data_without_test_images_is_trained_on_and_said_once(run, toy, tmp_path):
    shutil.rmtree(tmp_path / "photos" / "test")
    out = run("train.py", *toy).succeeded().out
    assert out.count("has no test images") == 1
    metrics = read_metrics(only_run(tmp_path / "logs"))
    assert "val/accuracy" in metrics
    assert not any(name.startswith("test/") for name in metrics)
    message = run(
        "evaluate.py", *toy[:4], "device=cpu", f"paths.logs={tmp_path / 'logs'}"
    ).mistake()
    assert "has no test split, so there is nothing to evaluate: hold images out" in message


@pytest.mark.parametrize("epochs", [1, 3])
def test_a_few_images_of_three_classes_are_trained_on(run, toy, tmp_path, epochs):
    few = ["data.batch_size=500", f"trainer.max_epochs={epochs}", "model.class_weights=balanced"]
    run("train.py", *toy, *few).succeeded()
    metrics = read_metrics(only_run(tmp_path / "logs"))
    assert 0 <= metrics["test/accuracy"] <= 1
