"""The Projector has the points of the test images, their classes and their pictures."""

import pytest
import torch
from PIL import Image

from fashion_transfer.data.fashion_mnist import CLASS_NAMES
from fashion_transfer.errors import ArgumentError
from fashion_transfer.reporting.projector import Projector, principal_components


def test_projector_writes_points_classes_and_thumbnails(
    make_task, make_trainer, datamodule, tmp_path
):
    data, trainer = datamodule(), make_trainer(Projector(images=20, dimensions=8))
    trainer.test(make_task(), datamodule=data, verbose=False)
    [points] = (tmp_path / "tensorboard").rglob("tensors.tsv")
    assert [len(line.split("\t")) for line in points.read_text().splitlines()] == [8] * 20
    header, *rows = (points.parent / "metadata.tsv").read_text().splitlines()
    assert header == "class\timage"
    names = [CLASS_NAMES[label] for label in data.test_set.split.labels[:20]]
    assert [row.split("\t")[0] for row in rows] == names
    assert Image.open(points.parent / "sprite.png").size == (5 * 32, 5 * 32)
    assert (tmp_path / "tensorboard" / "projector_config.pbtxt").is_file()


def test_projector_of_no_images_writes_nothing(make_task, make_trainer, datamodule, tmp_path):
    make_trainer(Projector()).test(make_task(), datamodule=datamodule(), verbose=False)
    assert not list(tmp_path.rglob("tensors.tsv"))


@pytest.mark.parametrize(
    ("options", "argument"),
    [({"images": -1}, "images"), ({"images": 1.5}, "images"), ({"dimensions": 1}, "dimensions")],
)
def test_projector_rejects_impossible_numbers(options, argument):
    with pytest.raises(ArgumentError, match=argument):
        Projector(**options)


def test_principal_components_are_ordered_and_repeatable():
    features = torch.randn(50, 20) * torch.tensor([10.0] + [1.0] * 19)
    state = torch.random.get_rng_state()
    points = principal_components(features, 4)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert points.shape == (50, 4)
    assert torch.equal(points, principal_components(features, 4))
    spread = points.var(dim=0)
    assert torch.equal(spread, spread.sort(descending=True).values)
    assert principal_components(features[:3], 64).shape == (3, 3)
