"""The command behind `make cache`: lists what is kept, and removes what it is told to."""

import numpy as np
import pytest
import torch

from fashion_transfer.features import Extractor, FeatureStore
from fashion_transfer.features.cache import main
from fashion_transfer.features.store import default_cache_dir, kernel_dir


@pytest.fixture
def store(backbone):
    """The default store with features of three images under two views."""
    store = FeatureStore()
    extractor = Extractor(backbone, store)
    for view in range(2):
        key = {"pixels": "0123456789", "image_size": 32, "view": view}
        extractor(key, 10, np.arange(3), ones, "images")
    return store


def ones(rows, device):
    return torch.ones(len(rows), 1, 32, 32, device=device)


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


def test_lists_each_key_with_what_it_holds(store, capsys):
    main([])
    output = capsys.readouterr().out
    assert str(store.directory) in output
    for folder, _, _ in store.entries():
        (line,) = [line for line in output.splitlines() if folder.name in line]
        for part in ("resnet18 float32", "012345 32 px", "layer4", " 3 "):
            assert part in line


def test_lists_an_empty_cache(capsys):
    main([])
    assert str(default_cache_dir()) in capsys.readouterr().out


def test_another_cache_can_be_named(store, tmp_path, capsys):
    main(["--dir", str(tmp_path / "other")])
    output = capsys.readouterr().out
    assert str(tmp_path / "other") in output
    assert store.entries()[0][0].name not in output


def test_removes_the_key_it_is_told_to(store, capsys):
    first, second = (folder for folder, _, _ in store.entries())
    main(["--remove", first.name])
    assert [folder for folder, _, _ in store.entries()] == [second]
    assert f"removed {first}" in capsys.readouterr().out


def test_removes_all(store):
    kernel_dir(store).mkdir()
    main(["--remove", "all"])
    assert store.entries() == []
    assert not kernel_dir(store).exists()


def test_removes_kernels_and_leaves_features(store):
    kernel_dir(store).mkdir()
    main(["--remove", "kernels"])
    assert len(store.entries()) == 2
    assert not kernel_dir(store).exists()


def test_an_unknown_key_removes_nothing(store):
    first = store.entries()[0][0].name
    with pytest.raises(SystemExit, match="^error: --remove 0000"):
        main(["--remove", first, "0000"])
    assert len(store.entries()) == 2
