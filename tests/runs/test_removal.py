import pytest
from filelock import FileLock
from run_folders import write_run

from fashion_transfer.runs import removal
from fashion_transfer.runs.collection import collect
from fashion_transfer.runs.removal import leftovers, removable, remove, size

DEBUG = {"debug": "tiny"}


def test_removable_are_debug_runs_and_those_that_did_not_finish(tmp_path):
    for status in ("failed", "interrupted", "pruned", "running"):
        write_run(tmp_path, status, status=status)
    write_run(tmp_path, "finished", accuracy=0.5)
    write_run(tmp_path, "debug", accuracy=0.5, choices=DEBUG)
    write_run(tmp_path, "unreadable").joinpath("run.json").write_text("{")
    locked = write_run(tmp_path, "locked", choices=DEBUG)
    with FileLock(locked / ".lock"):
        names = {run.name for run in removable(collect(tmp_path))}
    assert names == {"failed", "interrupted", "running", "debug"}


def test_removable_spares_a_folder_around_a_run_that_stays(tmp_path):
    write_run(tmp_path, "failed", status="failed")
    write_run(tmp_path, "failed/inside", accuracy=0.5)
    assert removable(collect(tmp_path)) == []


def test_remove_deletes_the_folder_and_empty_ones_around_it(tmp_path):
    write_run(tmp_path, "train/multiruns/s/0", status="failed")
    write_run(tmp_path, "train/runs/b", accuracy=0.5)
    [failed] = removable(collect(tmp_path))
    assert remove(failed, tmp_path)
    assert [path.name for path in (tmp_path / "train").iterdir()] == ["runs"]


def test_remove_spares_a_run_that_goes_on_meanwhile(tmp_path):
    folder = write_run(tmp_path, "a", status="interrupted")
    [run] = removable(collect(tmp_path))
    with FileLock(folder / ".lock"):
        assert not remove(run, tmp_path)
    assert (folder / "run.json").is_file()


def test_an_interrupted_removal_lists_no_half_run_and_leaves_something_to_remove(
    tmp_path, monkeypatch
):
    write_run(tmp_path, "a/b", status="failed")
    [run] = removable(collect(tmp_path))

    def interrupted(folder):
        (folder / "run.json").unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(removal.shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        remove(run, tmp_path)
    assert collect(tmp_path) == []
    assert [folder.parent for folder in leftovers(tmp_path)] == [tmp_path / "a"]


def test_size_counts_files_and_no_targets_of_links(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x").write_bytes(b"x" * 100)
    (tmp_path / "a" / "link").symlink_to("/")
    assert size(tmp_path / "a") == 100 + len("/")
