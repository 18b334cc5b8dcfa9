"""The command behind `make cache`: lists cached features, and removes those it is given."""

import json

import numpy as np
import pytest
import torch

from fashion_transfer.features import Extractor, FeatureStore
from fashion_transfer.features.cache import main
from fashion_transfer.features.store import kernel_dir
from fashion_transfer.files import default_cache_dir


@pytest.fixture
def store(backbone):
    """The default store with features of three images under two views."""
    store = FeatureStore()
    extractor = Extractor(backbone, store)
    for view in range(2):
        key = {"split": "0123456789", "preparation": "fashion_mnist/3"}
        key |= {"image_size": 32, "view": view}
        extractor(key, 10, np.arange(3), ones, "images")
    return store


def ones(rows, device):
    return torch.ones(len(rows), 1, 32, 32, device=device)


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


def test_cache_lists_each_key_with_its_content(store, backbone, capsys):
    main([])
    output = capsys.readouterr().out
    assert str(store.directory) in output
    for folder, _, _ in store.entries():
        (line,) = [line for line in output.splitlines() if folder.name in line]
        view = json.loads((folder / "key.json").read_text())["images"]["view"]
        cells = [cell.strip() for cell in line.split("│")[1:-1]]
        assert cells[1:] == [
            "resnet18 float32",
            backbone.fingerprint[:8],
            "fashion_mnist/3 01234567",
            "32 px",
            str(view),
            "layer1 layer2 layer3 layer4",
            "3",
            cells[-1],
        ]


def test_cache_lists_and_removes_folders_of_v0_1_0(capsys):
    store = FeatureStore()
    old = store.folder(
        {
            "images": {"pixels": "0123456789", "image_size": 32, "view": 1},
            "backbone": {"name": "resnet50", "fingerprint": "abcdef0123"},
            "precision": "float32",
        }
    )
    main([])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if old.name in line]
    for part in ("resnet50 float32", "abcdef01", "v0.1.0", "32 px"):
        assert part in line
    main(["--remove", old.name])
    assert store.entries() == []


def test_cache_lists_features_by_content(backbone, capsys):
    store = FeatureStore()
    key = {"content": "pixels", "preparation": "photo/1", "image_size": 32, "view": 0}
    Extractor(backbone, store)(key, None, np.array([7, 2**63 - 1]), ones, "photos")
    ((folder, _, _),) = store.entries()
    main([])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if folder.name in line]
    cells = [cell.strip() for cell in line.split("│")[1:-1]]
    assert cells[3] == "photo/1 by content"
    assert cells[7] == "2"
    main(["--remove", folder.name])
    assert store.entries() == []


def test_cache_lists_and_removes_a_folder_with_an_unreadable_key(store, capsys):
    damaged = store.entries()[0][0]
    (damaged / "key.json").write_text("{")
    main([])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if damaged.name in line]
    assert "unreadable key" in line
    main(["--remove", damaged.name])
    assert len(store.entries()) == 1


def test_cache_lists_an_empty_store(capsys):
    main([])
    assert str(default_cache_dir()) in capsys.readouterr().out


def test_cache_lists_another_folder(store, tmp_path, capsys):
    main(["--dir", str(tmp_path / "other")])
    output = capsys.readouterr().out
    assert str(tmp_path / "other") in output
    assert store.entries()[0][0].name not in output


def test_remove_deletes_a_key(store, capsys):
    first, second = (folder for folder, _, _ in store.entries())
    main(["--remove", first.name])
    assert [folder for folder, _, _ in store.entries()] == [second]
    assert f"removed {first}" in capsys.readouterr().out


def test_remove_deletes_all(store):
    kernel_dir(store).mkdir()
    main(["--remove", "all"])
    assert store.entries() == []
    assert not kernel_dir(store).exists()


def test_remove_deletes_kernels_alone(store):
    kernel_dir(store).mkdir()
    main(["--remove", "kernels"])
    assert len(store.entries()) == 2
    assert not kernel_dir(store).exists()


def test_remove_of_an_unknown_key_deletes_nothing(store):
    first = store.entries()[0][0].name
    with pytest.raises(SystemExit, match="^error: --remove 0000"):
        main(["--remove", first, "0000"])
    assert len(store.entries()) == 2
