"""What a probe measures of the revision it runs in."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fashion_transfer.benchmarks import probe
from fashion_transfer.benchmarks.probe import ApiOfV010, CurrentApi
from fashion_transfer.synthetic import LAYOUTS, OUT_OF_DISTRIBUTION

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    import torchvision

    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18().state_dict(), path)
    return path


@pytest.fixture
def run(idx_dir, weights, tmp_path):
    """`run(task, *overrides, **entries)`: the arrays of a task on tiny data."""

    def arrays(task: str, *overrides: str, **entries) -> dict[str, np.ndarray]:
        entries |= {
            "task": task,
            "root": str(ROOT),
            "overrides": [
                f"data.dir={idx_dir}",
                "data.check_md5=false",
                "data.image_size=32",
                "data.images_per_class=8",
                "data.val_per_class=4",
                "data.synthetic.composites=16",
                "data.synthetic.controls=16",
                "model.backbone.name=resnet18",
                f"model.backbone.weights='{weights}'",
                "model.backbone.precision=float32",
                "model.backbone.compile=false",
                *overrides,
            ],
            "output": str(tmp_path / "arrays.npz"),
            "scratch": str(tmp_path / "features"),
            "small_size": 32,
            "count": 2,
            "images_per_set": 3,
        }
        (tmp_path / "task.json").write_text(json.dumps(entries))
        probe.main(str(tmp_path / "task.json"))
        with np.load(tmp_path / "arrays.npz") as loaded:
            return dict(loaded)

    return arrays


SETS = {"training": 80, "validation": 40, "test": 60, "composites": 16, "controls": 16}
EVALUATION = [f"{g}/{name}" for name in LAYOUTS for g in ("multi_item", "control")]
EVALUATION += [f"out_of_distribution/{name}" for name in OUT_OF_DISTRIBUTION]


def test_pixels_cover_every_image_of_every_set(run):
    arrays = run("pixels", all_images=True)
    sizes = SETS | dict.fromkeys(EVALUATION, 3)
    assert {name: len(arrays[f"small/{name}"]) for name in sizes} == sizes
    assert {name: len(arrays[f"rows/{name}"]) for name in sizes} == sizes
    assert all(arrays[f"whole/{name}"].shape == (2, 1, 32, 32) for name in sizes)
    labelled = {name.partition("/")[2] for name in arrays if name.startswith("labels/")}
    assert {*SETS, "control/stacked"} <= labelled
    assert not any(name.startswith(("multi_item", "out_of")) for name in labelled)


def test_pixels_of_a_recipe_with_fresh_views_have_one_of_them(run):
    arrays = run("pixels", "data.views=null", all_images=False)
    assert not (arrays["whole/training"] == arrays["whole/training, view 1"]).all()
    assert not any(name.startswith("small/") for name in arrays)


def test_digests_tell_images_apart(run):
    digests = run("pixels", all_images=True)["small/test"]
    assert digests.dtype == np.uint64
    assert len(set(digests.tolist())) == 60


def test_features_are_computed_for_the_first_images_of_each_set(run):
    arrays = run("features", "model.backbone.pool=[layer4]")
    assert set(arrays) == {*SETS, *EVALUATION}
    assert all(features.shape == (2, 512) for features in arrays.values())


def test_names_of_tensors_are_those_of_today():
    assert CurrentApi().tensor_name("classifier.head.0.weight") == "head.0.weight"
    layer4 = "stages.stages.network.layer4"
    assert ApiOfV010().tensor_name("head.0.weight") == "head.0.weight"
    assert ApiOfV010().tensor_name("tail.stage.0.conv1.weight") == f"{layer4}.0.conv1.weight"
    assert ApiOfV010().tensor_name("calibrator.familiar") == "calibrator.ood_limit"


def test_sets_of_version_0_1_0_get_their_new_names(monkeypatch):
    def dataset(count: int, **attributes) -> SimpleNamespace:
        class Dataset(SimpleNamespace):
            def __len__(self):
                return count

        return Dataset(labels=np.zeros(count), **attributes)

    split = SimpleNamespace(labels=np.arange(9))
    real = {"indices": np.array([2, 3]), "split": split}
    datamodule = SimpleNamespace(
        train_set=dataset(2, **real),
        val_set=None,
        test_set=dataset(2, **real),
        image_size=32,
        made_sets=[dataset(4, key={"view": "composites"})],
        kinds=lambda count: {
            f"{name}/x": dataset(count) for name in ("multi", "control", "unfamiliar")
        },
    )
    monkeypatch.setattr(probe.importlib, "import_module", lambda name: SimpleNamespace(MOST=100))
    sets = ApiOfV010().image_sets(datamodule, 5)
    assert {name: len(images.rows) for name, images in sets.items()} == {
        "training": 2,
        "test": 2,
        "composites": 4,
        "multi_item/x": 5,
        "control/x": 5,
        "out_of_distribution/x": 5,
    }
    assert sets["training"].labels.tolist() == [2, 3]
    assert sets["training"].source_size == 9


def test_probe_refuses_the_package_of_another_checkout(tmp_path):
    task = tmp_path / "task.json"
    task.write_text(json.dumps({"task": "pixels", "root": str(tmp_path), "overrides": []}))
    ended = subprocess.run(
        [sys.executable, probe.__file__, str(task)], capture_output=True, text=True, timeout=120
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: imported ")
