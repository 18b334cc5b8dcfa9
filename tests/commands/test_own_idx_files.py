"""Another data set in Fashion-MNIST's files (`data.check_md5=false`): it works, or is refused."""

import numpy as np
import pytest
from outcomes import only_run, read_metrics

SIDE = 32


@pytest.fixture
def own(tiny, plain, tmp_path, write_idx):
    """`own(**files)`: arguments of a training run; the first three are the data.

    The files of the data are 14 training and 3 test images of each of ten classes, 32 x 32, unless
    they are given by name: `train_labels=array`.
    """

    def arguments(**files: np.ndarray) -> list[str]:
        folder = tmp_path / "own"
        folder.mkdir()
        for split, per_class in (("train", 14), ("t10k", 3)):
            labels = files.get(f"{split}_labels", np.tile(np.arange(10), per_class))
            images = np.zeros((len(labels), SIDE, SIDE), np.uint8)
            for image, label in zip(images, labels, strict=True):
                image[3 * label : 3 * label + 4, 3:-3] = 200
            images = files.get(f"{split}_images", images)
            write_idx(folder / f"{split}-images-idx3-ubyte", images)
            write_idx(folder / f"{split}-labels-idx1-ubyte", labels)
        cache = f"paths.cache={tmp_path / 'features'}"
        given = tiny(tmp_path / "logs", *plain, "trainer.max_epochs=1")
        rest = [
            a for a in given if not a.startswith(("data.dir=", "data.check_md5=", "paths.cache="))
        ]
        return [f"data.dir={folder}", "data.check_md5=false", cache, *rest]

    return arguments


@pytest.mark.slow
def test_other_sizes_blank_images_and_missing_test_classes_go_all_the_way(run, own, tmp_path):
    images = np.full((140, SIDE - 2, SIDE - 2), 10, np.uint8)
    for number, image in enumerate(images):
        image[3 * (number % 10) : 3 * (number % 10) + 4, 3:-3] = 200
    images[[3, 17]] = 0
    arguments = own(train_images=images, t10k_labels=np.arange(30) % 4)
    ran = run("train.py", *arguments).succeeded()
    assert ran.out.count("are blank") == 1
    assert "2 of 140 training images are blank, and in no composite: number 3, 17" in ran.out
    settings = ("device=cpu", "model.backbone.precision=float32", "images_per_set=4", "mnist=null")
    run("evaluate.py", *arguments[:3], *settings, f"paths.logs={tmp_path / 'logs'}").succeeded()
    metrics = read_metrics(only_run(tmp_path / "logs", "evaluate"))
    assert "out_of_distribution/shuffled_patches/warned" in metrics
    assert "test/accuracy/dress" in metrics
    assert "test/accuracy/bag" not in metrics


def test_empty_test_files_are_no_test(run, own, tmp_path):
    nothing = {"t10k_images": np.empty((0, SIDE, SIDE)), "t10k_labels": np.empty(0)}
    out = run("train.py", *own(**nothing)).succeeded().out
    assert out.count("has no test images") == 1
    assert not any(name.startswith("test/") for name in read_metrics(only_run(tmp_path / "logs")))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"train_images": np.full((140, SIDE, SIDE - 4), 200)},
            "training images are 32 pixels high and 28 wide, expected square ones: pad them",
        ),
        ({"train_labels": np.arange(140) % 6}, "no training image has the label 6"),
        ({"train_labels": np.arange(140) % 12}, "labels of the training images go up to 11"),
        ({"t10k_labels": np.arange(30) % 12}, "labels of the test images go up to 11"),
        ({"train_images": np.full((139, SIDE, SIDE), 200)}, "has 139 images but "),
        ({"t10k_images": np.empty((0, SIDE, SIDE))}, "has 0 images but "),
        ({"train_images": np.empty((0, SIDE, SIDE)), "train_labels": np.empty(0)}, "no training"),
    ],
)
def test_files_that_cannot_be_used_are_refused_before_anything_is_computed(
    run, own, tmp_path, files, message
):
    assert message in run("train.py", *own(**files)).mistake()
    assert not list((tmp_path / "features").rglob("*.npy"))
