"""`data.num_workers` where nothing is forked: macOS spawns, Python 3.14 has a fork server."""

import multiprocessing
import pickle

import pytest
import torch
from toy import ToyDataModule, write_toy

from fashion_transfer.data import ClassificationDataModule, ImageFolderDataModule
from fashion_transfer.evaluation import evaluation_sets
from fashion_transfer.synthetic import CollageExposure, Exposure

METHODS = [m for m in ("spawn", "forkserver") if m in multiprocessing.get_all_start_methods()]


@pytest.fixture(params=["fashion_mnist", "folder", "own"])
def any_data(request, datamodule, tmp_path) -> ClassificationDataModule:
    """A data module of each class, with fresh views and synthetic images."""
    options = {"views": None, "num_workers": 1, "image_size": 32, "batch_size": 4}
    if request.param == "fashion_mnist":
        data = datamodule(**options, synthetic=Exposure(16, 16, images_per_class=8))
    elif request.param == "folder":
        synthetic = CollageExposure(0.5, 0.5)
        data = ImageFolderDataModule(str(write_toy(tmp_path)), synthetic=synthetic, **options)
    else:
        data = ToyDataModule(str(write_toy(tmp_path)), **options)
    data.prepare_data()
    data.setup()
    return data


def test_what_a_loader_hands_to_its_workers_pickles(any_data):
    loaders = [any_data.train_dataloader(), any_data.clean_dataloader()]
    loaders += [any_data.val_dataloader(), any_data.test_dataloader()]
    loaders += map(any_data.dataloader, evaluation_sets(any_data, 4).values())
    assert len(loaders) > 8 or isinstance(any_data, ToyDataModule)
    for loader in loaders:
        assert loader.num_workers == 1
        dataset, collate = pickle.loads(pickle.dumps((loader.dataset, loader.collate_fn)))
        items = list(loader.sampler)[:4]
        expected = loader.dataset.__getitems__(items)
        batch = collate(dataset.__getitems__(items))
        assert torch.equal(batch.images, expected.images)
        assert torch.equal(batch.labels, expected.labels)


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_commands_run_with_workers_that_are_not_forked(process, tiny, plain, tmp_path, method):
    code = f"""
import multiprocessing, runpy, sys
multiprocessing.set_start_method({method!r})
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""
    workers = ("store=false", "data.num_workers=1")
    training = process(code, "train.py", *tiny(tmp_path, *plain, *workers, "data.views=null"))
    assert training.returncode == 0, training.stderr
    [metrics] = tmp_path.glob("train/runs/*/metrics.json")
    where = [a for a in tiny(tmp_path) if a.startswith(("data.dir", "data.check_md5", "paths"))]
    evaluation = process(code, "evaluate.py", *where, *workers, "images_per_set=0")
    assert evaluation.returncode == 0, evaluation.stderr
    assert "pickle" not in training.stderr + evaluation.stderr
