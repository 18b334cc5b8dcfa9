"""The command behind `make cache`: lists cached features, and removes those it is given."""

import gc
import json
import os
import time
from datetime import datetime

import numpy as np
import pytest
import torch

from fashion_transfer.features import Extractor, FeatureStore
from fashion_transfer.features.cache import main
from fashion_transfer.features.quantisation import quantised_dir
from fashion_transfer.features.store import kernel_dir
from fashion_transfer.features.usage import last_used
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
            cells[7],
            "3",
            cells[-1],
        ]


def test_cache_tells_mirrored_features_from_others(tmp_path, capsys):
    store = FeatureStore(tmp_path)
    for backbone in ({"name": "resnet18"}, {"name": "resnet18", "mirror": True}):
        key = {"backbone": backbone, "images": {"content": "pixels", "image_size": 32}}
        store.open(key, {"layer4": 2}, None).write(np.array([5]), {"layer4": torch.zeros(1, 2)})
    main(["--dir", str(tmp_path)])
    lines = [line for line in capsys.readouterr().out.splitlines() if "resnet18" in line]
    assert len(lines) == 2
    assert sum("32 px, mirrored" in line for line in lines) == 1


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
    assert cells[8] == "2"
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


def test_int8_networks_are_listed_and_removed_by_name_alone(store, capsys):
    folder = quantised_dir(store.directory.parent)
    folder.mkdir()
    (folder / "network.safetensors").write_bytes(bytes(2_500_000))
    main([])
    row = next(line for line in capsys.readouterr().out.splitlines() if "quan" in line)
    assert "2.5" in row
    main(["--remove", "all"])
    assert folder.exists()
    main(["--remove", "quantised", "--dry-run"])
    assert folder.exists()
    main(["--remove", "quantised"])
    assert not folder.exists()


def test_remove_of_an_unknown_key_deletes_nothing(store):
    first = store.entries()[0][0].name
    with pytest.raises(SystemExit, match="^error: --remove 0000"):
        main(["--remove", first, "0000"])
    assert len(store.entries()) == 2


# Limits


@pytest.fixture
def used(store):
    """The two folders of `store`: the one used ten days ago, and the one used an hour ago."""
    gc.collect()  # tables that tests left to it
    folders = sorted(folder for folder, _, _ in store.entries())
    for folder, age in zip(folders, (10 * 86_400, 3600), strict=True):
        seconds = time.time() - age
        os.utime(folder / "key.json", (seconds, seconds))
    return folders


def left(store) -> list:
    return [folder for folder, _, _ in store.entries()]


def test_what_was_not_used_for_long_is_removed(store, used, capsys):
    main(["--older-than", "30d"])
    assert sorted(left(store)) == used
    main(["--older-than", "9d"])
    assert left(store) == [used[1]]
    assert f"removed {used[0]}" in capsys.readouterr().out
    main(["--older-than", "0.5h"])
    assert left(store) == []


def test_what_was_used_last_stays_within_a_size(store, used):
    total = sum(size for _, _, size in store.entries())
    main(["--max-size", f"{total / 1e6 + 0.001}MB"])
    assert sorted(left(store)) == used
    main(["--max-size", f"{total / 1e6 - 0.001}MB"])
    assert left(store) == [used[1]]


def test_dry_run_removes_nothing(store, used, capsys):
    main(["--older-than", "9d", "--dry-run"])
    main(["--remove", used[1].name, "--dry-run"])
    assert sorted(left(store)) == used
    output = capsys.readouterr().out
    assert [f"would remove {folder}" in output for folder in used] == [True, True]


def test_folders_in_use_stay(store, used, capsys):
    table = store.open(json.loads((used[0] / "key.json").read_text()), {"layer4": 512}, 10)
    main(["--max-size", "0MB"])
    assert left(store) == [used[0]]
    assert f"{used[0]} is in use by a run and stays" in capsys.readouterr().out
    del table
    main(["--max-size", "0MB"])
    assert left(store) == []


def test_using_a_folder_notes_the_time(store, used, capsys):
    before = last_used(used[0])
    store.open(json.loads((used[0] / "key.json").read_text()), {"layer4": 512}, 10)
    assert last_used(used[0]) > before + 86_400
    main([])
    assert datetime.now().strftime("%Y-%m-%d") in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--older-than", "--max-size"])
@pytest.mark.parametrize("value", ["30", "d", "-1d", "30 parsecs", ""])
def test_limit_without_a_unit_is_an_error(store, option, value):
    with pytest.raises(SystemExit, match=f"^error: {option} {value}"):
        main([f"{option}={value}"])
    assert len(left(store)) == 2
