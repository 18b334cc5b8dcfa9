"""Features of content-addressed images: by key, each computed once, under any damage."""

import multiprocessing
import os
import pickle

import numpy as np
import pytest
import torch

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features import FeatureStore, FeatureTable, key_index
from fashion_transfer.features.key_index import CAPACITY

WIDTHS = {"layer3": 4, "layer4": 6}
KEYS = np.array([2**63 - 1, 5, 0, 2**40 + 3, 77])


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "cache")


def open_table(store) -> FeatureTable:
    """Opens a table as another run would."""
    return FeatureTable(store.folder({"images": "photos"}), WIDTHS)


def some(keys) -> dict[str, torch.Tensor]:
    """Features that show which key and node they belong to."""
    of_key = torch.as_tensor(np.asarray(keys) % 1021, dtype=torch.float32).unsqueeze(1)
    return {name: of_key + width + torch.arange(width) / 8 for name, width in WIDTHS.items()}


def expected(keys) -> torch.Tensor:
    return torch.cat(list(some(keys).values()), dim=1).half().float()


def fill(store, keys) -> list[int]:
    """Writes what is missing, as the extractor does, and reads all of it; gives what it wrote."""
    table = open_table(store)
    missing = table.missing(keys)
    if len(missing):
        table.write(missing, some(missing))
    assert torch.equal(table.gather(keys), expected(keys))
    again = open_table(store)
    assert len(again.missing(keys)) == 0
    assert torch.equal(again.gather(keys), expected(keys))
    return missing.tolist()


@pytest.fixture
def filled(store):
    """The table, and the file of its index, once `KEYS` are written in two parts."""
    fill(store, KEYS[:2])
    fill(store, KEYS)
    table = open_table(store)
    return table, table.folder / "keys.bin"


# By key


def test_gather_gives_features_by_key_in_any_order(filled):
    for keys in (KEYS, KEYS[::-1], KEYS[[3, 3, 0]], KEYS[:0]):
        assert torch.equal(filled[0].gather(keys), expected(keys))


def test_nothing_is_written_twice(store):
    assert fill(store, KEYS) == KEYS.tolist()
    assert fill(store, KEYS[::-1]) == []
    assert fill(store, KEYS[1:3]) == []


def test_added_image_is_written_alone(store):
    fill(store, KEYS)
    assert fill(store, np.array([5, 6, 77])) == [6]


def test_key_that_comes_twice_has_one_row(store):
    assert fill(store, np.array([9, 4, 9, 9, 4])) == [9, 4]
    table = open_table(store)
    table.write(np.array([8, 8]), some([8, 8]))
    assert (table.folder / "keys.bin").stat().st_size == 3 * 8


def test_index_lists_the_keys_in_order_of_the_rows(filled):
    table, path = filled
    keys = np.frombuffer(path.read_bytes(), "<i8")
    assert sorted(keys) == sorted(KEYS)
    rows = np.load(table.folder / "layer4.npy", mmap_mode="r")
    assert rows.shape == (CAPACITY, 6)
    assert torch.equal(torch.from_numpy(rows[:5].astype(np.float32)), expected(keys)[:, 4:])


def test_folder_of_many_possible_rows_takes_little_space(filled, store):
    ((_, _, size),) = store.entries()
    if size > 2_000_000:
        pytest.skip("this file system has no sparse files")
    assert size < 200_000


def test_table_sees_what_another_run_wrote(store):
    table = open_table(store)
    assert table.missing(KEYS).tolist() == KEYS.tolist()
    fill(store, KEYS[:3])
    assert table.missing(KEYS).tolist() == KEYS[3:].tolist()
    table.write(KEYS[3:], some(KEYS[3:]))
    assert torch.equal(table.gather(KEYS), expected(KEYS))
    assert fill(store, KEYS) == []


def test_pickled_table_is_small_and_reads_the_same(store):
    keys = np.arange(10_000)
    fill(store, keys)
    table = open_table(store)
    table.gather(keys)
    pickled = pickle.dumps(table)
    assert len(pickled) < 1000
    restored = pickle.loads(pickled)
    assert torch.equal(restored.gather(keys[::7]), expected(keys[::7]))


def test_key_without_features_is_an_error(filled):
    with pytest.raises(FashionTransferError, match="keys.bin .* run again to compute it"):
        filled[0].gather(np.array([5, 6]))


# Room


def test_folder_without_room_is_a_one_line_error_and_stays_usable(store, monkeypatch):
    monkeypatch.setattr(key_index, "CAPACITY", 6)
    fill(store, KEYS)
    table = open_table(store)
    for action in (table.missing, lambda keys: table.write(keys, some(keys))):
        with pytest.raises(FashionTransferError, match="5 images, of at most 6") as caught:
            action(np.array([5, 100, 101]))
        assert "\n" not in str(caught.value)
        assert f"--remove {table.folder.name}" in str(caught.value)
    assert fill(store, np.array([5, 100])) == [100]


# Damage


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-3],
        lambda content: content[:-8],
        lambda content: content[:7],
        lambda content: content[8:],
        lambda content: content + b"\x7f" * 5,
        lambda content: content + b"\xff" * 16,
        lambda content: content[:8] * 3 + content,
        lambda content: content[16:] + content[:16],
        lambda content: bytes(len(content)),
        lambda content: b"",
    ],
)
def test_damaged_index_costs_rows_and_gives_none_to_another_image(filled, store, damage):
    _, path = filled
    path.write_bytes(damage(path.read_bytes()))
    # Others come first and may get the rows: a checksum is of a row and its key.
    fill(store, np.array([123, 5, 124]))
    fill(store, KEYS)
    assert fill(store, np.array([*KEYS, 123, 124])) == []


def test_torn_index_loses_the_last_key_alone(filled, store):
    _, path = filled
    last = int(np.frombuffer(path.read_bytes(), "<i8")[-1])
    path.write_bytes(path.read_bytes()[:-3])
    assert fill(store, KEYS) == [last]
    assert path.stat().st_size == 5 * 8


def test_garbage_after_the_last_key_is_overwritten(filled, store):
    _, path = filled
    with path.open("ab") as file:
        file.write(b"\x05\0\0\0\0")
    assert fill(store, KEYS) == []
    assert fill(store, np.array([6, 5])) == [6]
    assert path.stat().st_size == 6 * 8


def test_key_that_was_listed_without_its_features_is_missing(filled, store):
    _, path = filled
    with path.open("ab") as file:
        file.write((123).to_bytes(8, "little"))
    assert fill(store, np.array([5, 123])) == [123]
    assert path.stat().st_size == 6 * 8


def test_flipped_bit_makes_a_row_missing(filled, store, caplog):
    table, path = filled
    row = np.frombuffer(path.read_bytes(), "<i8").tolist().index(77)
    with (table.folder / "layer4.npy").open("r+b") as file:
        file.seek(128 + row * 6 * 2 + 3)
        byte = file.read(1)[0]
        file.seek(-1, 1)
        file.write(bytes([byte ^ 4]))
    assert fill(store, KEYS) == [77]
    assert "1 damaged features" in caplog.text
    assert path.stat().st_size == 5 * 8


def test_lost_file_of_features_is_written_anew(filled, store):
    (filled[0].folder / "layer3.npy").unlink()
    assert fill(store, KEYS) == KEYS.tolist()


class Killed(BaseException):
    """Stands for a kill: nothing runs after it."""


@pytest.mark.parametrize("writes", range(0, 22, 3))
def test_run_killed_between_two_writes_leaves_whole_rows(store, monkeypatch, writes):
    earlier, done, real = np.array([1, 2]), 0, os.pwrite
    fill(store, earlier)

    def write_some(descriptor, data, offset):
        nonlocal done
        if done == writes:
            real(descriptor, data[: len(data) // 2 + 1], offset)
            raise Killed
        done += 1
        return real(descriptor, data, offset)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", write_some)
        try:
            open_table(store).write(KEYS, some(KEYS))
        except Killed:
            assert writes < 21  # the index, and two nodes of five rows and five checksums
    missing = open_table(store).missing(KEYS)
    assert len(missing) == min(5, 21 - writes) if writes < 21 else not len(missing)
    assert fill(store, np.concatenate([KEYS, earlier])) == missing.tolist()


# Two at once


def fill_with_lock(store, start) -> None:
    for first in range(start, start + 60, 6):
        table = open_table(store)
        keys = np.arange(first, first + 10)
        with store.lock(table.folder):
            missing = table.missing(keys)
            table.write(missing, some(missing))


def test_runs_at_once_share_an_index(store):
    context = multiprocessing.get_context("fork")
    runs = [context.Process(target=fill_with_lock, args=(store, start)) for start in (0, 30, 60)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
        assert run.exitcode == 0
    keys = np.arange(60 + 64)
    assert fill(store, keys) == []
    assert (open_table(store).folder / "keys.bin").stat().st_size == len(keys) * 8
