"""The feature store: every row is whole or absent, at any failure of disk or process."""

import errno
import json
import os
import pickle
import resource
from pathlib import Path

import numpy as np
import pytest
import torch

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features import FeatureStore, FeatureTable
from fashion_transfer.features.store import nodes_in
from fashion_transfer.files import default_cache_dir

WIDTHS = {"layer3": 4, "layer4": 6}
ROWS = 50


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "cache")


@pytest.fixture
def table(store):
    return open_table(store)


def open_table(store, widths=WIDTHS, source_size=ROWS, **key) -> FeatureTable:
    """Opens a table as another run would."""
    return FeatureTable(store.folder({"images": "some", **key}), widths, source_size)


def some(rows, widths=WIDTHS) -> dict[str, torch.Tensor]:
    """Features that show which row and node they belong to."""
    column = torch.as_tensor(rows, dtype=torch.float32).unsqueeze(1)
    return {
        name: column + torch.arange(width) / 8 + 100 * place
        for place, (name, width) in enumerate(widths.items())
    }


def side_by_side(features) -> torch.Tensor:
    return torch.cat(list(features.values()), dim=1)


def missing(table, rows=None) -> list[int]:
    return table.missing(np.arange(ROWS) if rows is None else np.array(rows, np.int64)).tolist()


# Writing and reading


def test_gather_gives_written_rows_in_any_order(table, store):
    written = np.array([3, 4, 17, 49])
    table.write(written, some(written))
    wanted = np.array([49, 3, 17, 17])
    for gathered in (table.gather(wanted), open_table(store).gather(wanted)):
        assert gathered.dtype == torch.float32
        assert torch.equal(gathered, side_by_side(some(wanted)))


def test_gather_fills_rows_of_a_larger_tensor(table):
    rows = np.array([3, 4])
    table.write(rows, some(rows))
    whole = torch.zeros(4, table.width)
    assert torch.equal(table.gather(rows, whole[1:3]), side_by_side(some(rows)))
    assert torch.equal(whole[1:3], side_by_side(some(rows)))
    assert not whole[[0, 3]].any()


def test_gather_is_accurate_to_float16(table):
    rows = np.arange(ROWS)
    values = {
        name: torch.randn(ROWS, width, generator=torch.Generator().manual_seed(width))
        for name, width in WIDTHS.items()
    }
    table.write(rows, values)
    gathered, expected = table.gather(rows), side_by_side(values)
    assert torch.allclose(gathered, expected, rtol=2**-10, atol=1e-6)
    assert torch.equal(gathered, expected.half().float())


def test_zeros_are_features_like_any_other(table):
    zeros = {name: torch.zeros(1, width) for name, width in WIDTHS.items()}
    table.write(np.array([5]), zeros)
    assert missing(table, [4, 5]) == [4]


def test_changing_gathered_features_leaves_the_store(table, store):
    table.write(np.array([1]), some([1]))
    table.gather(np.array([1])).fill_(7)
    assert torch.equal(open_table(store).gather(np.array([1])), side_by_side(some([1])))
    assert missing(open_table(store), [1]) == []


def test_missing_gives_rows_that_were_not_written(table, store):
    assert missing(table) == list(range(ROWS))
    table.write(np.array([0, 7]), some([0, 7]))
    for current in (table, open_table(store)):
        assert missing(current, [7, 8, 0, 9]) == [8, 9]
        assert missing(current, []) == []


def test_writing_leaves_earlier_rows(table, store):
    table.write(np.array([0, 7]), some([0, 7]))
    open_table(store).write(np.array([1, 8]), some([1, 8]))
    gathered = open_table(store)
    assert missing(gathered, range(10)) == [2, 3, 4, 5, 6, 9]
    rows = np.array([0, 1, 7, 8])
    assert torch.equal(gathered.gather(rows), side_by_side(some(rows)))


def test_tables_that_pool_differently_share_nodes(table, store):
    rows = np.array([2, 3])
    table.write(rows, some(rows))
    one = open_table(store, {"layer4": 6})
    assert missing(one, [2, 3]) == []
    assert torch.equal(one.gather(rows), some(rows)["layer4"])
    more = open_table(store, {"layer4": 6, "layer1": 2})
    assert missing(more, [2, 3]) == [2, 3]


def test_gather_puts_nodes_in_the_order_of_the_table(table, store):
    rows = np.array([2, 3])
    table.write(rows, some(rows))
    reordered = open_table(store, {"layer4": 6, "layer3": 4})
    features = some(rows)
    expected = torch.cat([features["layer4"], features["layer3"]], dim=1)
    assert torch.equal(reordered.gather(rows), expected)


def test_rows_that_were_not_written_take_little_space(store, tmp_path):
    table = open_table(store, {"layer4": 512}, 60_000)
    table.write(np.array([59_999]), some([59_999], {"layer4": 512}))
    ((_, _, size),) = store.entries()
    if size > 30_000_000:
        pytest.skip("this file system has no sparse files")
    assert size < 1_000_000


def test_batch_field_is_maps_where_a_node_is_of_maps(store):
    assert open_table(store).batch_field == "features"
    assert open_table(store, {"layer2": 4, "layer3@map": 8}).batch_field == "maps"


def test_pickled_table_is_small_and_reads_the_same(table):
    rows = np.arange(ROWS)
    table.write(rows, some(rows))
    expected = table.gather(rows)  # opens the files
    pickled = pickle.dumps(table)
    assert len(pickled) < 1000
    restored = pickle.loads(pickled)
    assert torch.equal(restored.gather(rows), expected)
    assert missing(restored) == []
    assert torch.equal(table.gather(rows), expected)


# Damage


def test_flipped_bit_makes_a_row_missing(table, store, caplog):
    rows = np.arange(ROWS)
    table.write(rows, some(rows))
    path = table.folder / "layer4.npy"
    content = bytearray(path.read_bytes())
    row_bytes = 6 * 2
    content[len(content) - ROWS * row_bytes + 20 * row_bytes + 5] ^= 4
    path.write_bytes(content)
    again = open_table(store)
    assert missing(again) == [20]
    assert "1 damaged features" in caplog.text
    assert str(path) in caplog.text
    again.write(np.array([20]), some([20]))
    assert missing(open_table(store)) == []
    assert torch.equal(open_table(store).gather(rows), side_by_side(some(rows)))


def test_flipped_bit_in_a_checksum_makes_a_row_missing(table, store):
    rows = np.arange(ROWS)
    table.write(rows, some(rows))
    path = table.folder / "layer3.crc.npy"
    content = bytearray(path.read_bytes())
    content[len(content) - 4 * 3] ^= 1
    path.write_bytes(content)
    assert missing(open_table(store)) == [ROWS - 3]


@pytest.mark.parametrize("name", ["layer3.npy", "layer4.npy", "layer4.crc.npy"])
@pytest.mark.parametrize("length", [0, 1, 7, 60, 128, 130, -1])
def test_truncated_file_is_written_anew(table, store, name, length):
    rows = np.arange(ROWS)
    table.write(rows, some(rows))
    path = table.folder / name
    path.write_bytes(path.read_bytes()[:length])
    assert missing(open_table(store)) == list(range(ROWS))
    assert_repairs(store)


@pytest.mark.parametrize("name", ["layer4.npy", "layer4.crc.npy"])
def test_flipped_bit_in_a_header_is_repaired_or_harmless(table, store, name):
    rows = np.arange(ROWS)
    table.write(rows, some(rows))
    path = table.folder / name
    whole = path.read_bytes()
    for place in range(128):
        for bit in (1, 16, 128):
            content = bytearray(whole)
            content[place] ^= bit
            path.write_bytes(content)
            assert_repairs(store, (place, bit))


@pytest.mark.parametrize("name", ["layer4.npy", "layer4.crc.npy"])
def test_file_that_is_too_long_is_repaired_or_harmless(table, store, name):
    written = np.arange(0, ROWS, 2)
    table.write(written, some(written))
    with (table.folder / name).open("ab") as file:
        file.write(b"more")
    assert_repairs(store)


def assert_repairs(store, what=None) -> None:
    """Writes what is missing, as the extractor does, and then reads all of it."""
    rows = np.arange(ROWS)
    table = open_table(store)
    absent = table.missing(rows)
    if len(absent):
        table.write(absent, some(absent))
    assert torch.equal(table.gather(rows), side_by_side(some(rows))), what
    assert missing(open_table(store)) == [], what


def test_files_of_another_shape_are_written_anew(store):
    rows = np.arange(10)
    open_table(store, source_size=10).write(rows, some(rows))
    larger = open_table(store)
    assert larger.missing(rows).tolist() == rows.tolist()
    larger.write(rows, some(rows))
    assert torch.equal(larger.gather(rows), side_by_side(some(rows)))


@pytest.mark.parametrize("content", [b"not an array", b"PK\x03\x04", b"\0"])
def test_file_that_is_no_array_is_written_anew(table, store, content):
    for name in ("layer3.npy", "layer4.crc.npy"):
        (table.folder / name).write_bytes(content * 1000)
    assert_repairs(store)


class Killed(BaseException):
    """Stands for a kill: nothing runs after it."""


@pytest.mark.parametrize("writes", range(0, 41, 3))
def test_run_killed_between_two_writes_leaves_whole_rows(table, store, monkeypatch, writes):
    rows = np.arange(5, 15)
    done = 0
    real = os.pwrite

    def write_some(descriptor, data, offset):
        nonlocal done
        if done == writes:
            real(descriptor, data[: len(data) // 2], offset)
            raise Killed
        done += 1
        return real(descriptor, data, offset)

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", write_some)
        try:
            table.write(rows, some(rows))
        except Killed:
            assert writes < 40  # two nodes, each with ten rows and ten checksums
    again = open_table(store)
    absent = again.missing(rows)
    present = np.setdiff1d(rows, absent)
    assert len(present) == max(0, writes - 30)
    if len(present):
        assert torch.equal(again.gather(present), side_by_side(some(present)))
    again.write(absent, some(absent))
    assert torch.equal(open_table(store).gather(rows), side_by_side(some(rows)))


# Disks that cannot be written


def rejected(table, rows) -> str:
    with pytest.raises(FashionTransferError) as caught:
        table.write(rows, some(rows))
    message = str(caught.value)
    assert "\n" not in message
    assert str(table.folder) in message
    assert "FASHION_TRANSFER_CACHE=DIR" in message
    return message


def test_full_disk_is_an_error_and_leaves_earlier_rows(table, store, monkeypatch):
    table.write(np.arange(5), some(np.arange(5)))

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        assert "the disk is full" in rejected(table, np.arange(5, 10))
    assert missing(open_table(store), range(10)) == list(range(5, 10))


def test_disk_that_takes_part_of_a_row_is_full(table, monkeypatch):
    table.write(np.arange(5), some(np.arange(5)))
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", lambda descriptor, data, offset: len(data) - 1)
        assert "the disk is full" in rejected(table, np.arange(5, 10))


def test_file_larger_than_allowed_is_an_error(store):
    table = open_table(store, source_size=1_000_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        assert os.strerror(errno.EFBIG) in rejected(table, np.arange(5))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert missing(table, range(5)) == list(range(5))


def test_store_that_cannot_be_written_is_an_error(read_only_dir):
    read_only_dir.protect()
    store = FeatureStore(read_only_dir.path)
    with pytest.raises(FashionTransferError, match="FASHION_TRANSFER_CACHE=DIR") as caught:
        store.folder({"a": 1})
    assert str(read_only_dir.path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_folder_that_cannot_be_written_can_be_read(read_only_dir):
    store = FeatureStore(read_only_dir.path)
    rows = np.arange(5)
    open_table(store).write(rows, some(rows))
    read_only_dir.protect()
    table = open_table(store)
    assert missing(table, range(7)) == [5, 6]
    assert torch.equal(table.gather(rows), side_by_side(some(rows)))
    rejected(table, np.array([5]))


def test_lock_of_a_folder_that_cannot_be_written_is_an_error(read_only_dir):
    store = FeatureStore(read_only_dir.path)
    folder = store.folder({"a": 1})
    read_only_dir.protect()
    with (
        pytest.raises(FashionTransferError, match="FASHION_TRANSFER_CACHE=DIR"),
        store.lock(folder),
    ):
        pass


def test_store_under_a_file_is_an_error(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(FashionTransferError, match="FASHION_TRANSFER_CACHE=DIR"):
        FeatureStore(tmp_path / "file").folder({"a": 1})


# Folders


def test_folder_holds_its_key(store):
    key = {"images": {"view": 1}, "backbone": [1, 2]}
    folder = store.folder(key)
    assert folder.parent == store.directory
    assert json.loads((folder / "key.json").read_text()) == key
    assert store.folder({"backbone": [1, 2], "images": {"view": 1}}) == folder


@pytest.mark.parametrize(
    "other",
    [{"a": 1, "b": [1, 3]}, {"a": 2, "b": [1, 2]}, {"a": 1}, {"a": "1", "b": [1, 2]}, {}],
)
def test_folders_differ_between_keys(store, other):
    assert store.folder({"a": 1, "b": [1, 2]}) != store.folder(other)


def test_entries_are_the_largest_first(store):
    assert store.entries() == []
    small, large = ({"images": "some", "size": size} for size in ("small", "large"))
    open_table(store, source_size=60_000, size="small").write(np.arange(2), some(np.arange(2)))
    rows = np.arange(60_000)
    open_table(store, source_size=60_000, size="large").write(rows, some(rows))
    entries = store.entries()
    assert [key for _, key, _ in entries] == [large, small]
    assert entries[0][2] > entries[1][2] > 0
    assert entries[0][0] == store.folder(large)


def test_removed_folder_is_gone_and_can_be_filled_again(table, store):
    table.write(np.arange(3), some(np.arange(3)))
    store.remove(table.folder)
    assert not table.folder.exists()
    assert store.entries() == []
    again = open_table(store)
    assert missing(again, range(3)) == [0, 1, 2]
    again.write(np.arange(3), some(np.arange(3)))
    assert missing(again, range(3)) == []


def test_store_is_where_the_environment_names_it(tmp_path, monkeypatch):
    monkeypatch.setenv("FASHION_TRANSFER_CACHE", str(tmp_path / "given"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache_dir() == tmp_path / "given"
    assert FeatureStore().directory == tmp_path / "given" / "features"
    monkeypatch.delenv("FASHION_TRANSFER_CACHE")
    assert default_cache_dir() == tmp_path / "xdg" / "fashion-transfer"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    assert default_cache_dir() == tmp_path / "home" / ".cache" / "fashion-transfer"


def test_entry_with_an_unreadable_key_has_an_empty_one(table, store):
    for content in ("{", "[1]"):
        (table.folder / "key.json").write_text(content)
        assert [(folder, key) for folder, key, _ in store.entries()] == [(table.folder, {})]


def test_nodes_in_counts_rows_that_were_written(table):
    assert nodes_in(table.folder) == {}
    table.write(np.array([3, 4]), some([3, 4]))
    assert nodes_in(table.folder) == {"layer3": 2, "layer4": 2}
    (table.folder / "layer3.crc.npy").write_bytes(b"")
    (table.folder / "layer4.crc.npy").write_bytes(b"not an array")
    assert nodes_in(table.folder) == {"layer3": 0, "layer4": 0}
