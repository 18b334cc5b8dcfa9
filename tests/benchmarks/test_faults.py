"""`make faults`: its table, and the parts that nothing else tests, on fewer runs."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from fashion_transfer.benchmarks import faults, two_at_once
from fashion_transfer.benchmarks.full_disk import (
    can_mount,
    count_full,
    count_read_only,
    is_one_line,
)
from fashion_transfer.benchmarks.kill_runs import COMPUTING, SAVING, count_defects
from fashion_transfer.benchmarks.killing import KILLS, TOTALS, Killer, Process, count_left
from fashion_transfer.errors import FashionTransferError

ROOT = Path(__file__).resolve().parents[2]


# ---- the table


@pytest.fixture
def parts(monkeypatch):
    """`parts(name=counts)`: the parts that there are; an error in the place of counts is raised."""

    def replace(**counts):
        def part(outcome):
            def count(folder):
                assert list(folder.iterdir()) == []
                if isinstance(outcome, Exception):
                    raise outcome
                return outcome

            return count

        named = {name: part(outcome) for name, outcome in counts.items()}
        monkeypatch.setattr(faults, "parts", lambda *_: named)
        monkeypatch.setenv("OMP_NUM_THREADS", "1")

    return replace


def test_exit_status_is_0_where_nothing_is_lost(parts, capsys, tmp_path):
    parts(fit={"kills": 4, "lost runs": 0}, disk={"tried": 5, "damaged": 0})
    assert faults.main(["--output", str(tmp_path / "faults.json")]) == 0
    rows = json.loads((tmp_path / "faults.json").read_text())
    assert [(row["part"], row["tried"], row["lost or wrong"]) for row in rows] == [
        ("fit", 4, 0),
        ("disk", 5, 0),
    ]
    assert "lost or wrong" in capsys.readouterr().out


def test_exit_status_is_1_where_something_is_lost_and_the_table_says_what(parts, capsys):
    parts(fit={"kills": 4, "lost runs": 2}, sweep={"kills": 4, "lost runs": 0})
    assert faults.main([]) == 1
    assert "2 lost runs" in capsys.readouterr().out


def test_part_that_cannot_be_run_counts_as_wrong(parts, capsys):
    parts(fit=FashionTransferError("train.py failed: error: no data"))
    assert faults.main([]) == 1
    assert "no data" in " ".join(capsys.readouterr().out.split())


def test_only_runs_the_parts_that_are_named(parts, capsys):
    parts(fit={"kills": 4}, sweep={"kills": 3})
    assert faults.main(["--only", "swe"]) == 0
    assert "fit" not in capsys.readouterr().out


def test_parts_that_need_a_mount_are_left_out_where_it_is_not_allowed():
    missing = faults.parts(0, (), True).keys() - faults.parts(0, (), False).keys()
    assert missing == {"full disk", "read-only disk"}


# ---- killing


class Counting(Killer):
    """A job of five runs, each a file with its number, in a process that sleeps between them."""

    earliest = 0.5
    code = """
import sys, time
from pathlib import Path
folder = Path(sys.argv[1])
folder.mkdir(exist_ok=True)
for number in range(5):
    file = folder / f"{number}.txt"
    if not file.exists() or "again" in sys.argv:
        time.sleep(0.1)
        file.write_text(str(time.time() if "again" in sys.argv else number))
"""

    def start(self, folder):
        script = self.scratch / "counting.py"
        script.write_text(self.code)
        return Process([str(folder), *self.given], folder.with_suffix(".log"), str(script))

    def has_run(self, folder):
        return (folder / "0.txt").exists()

    def ended_files(self, folder):
        return {file.name: {file: file.read_text()} for file in folder.glob("*.txt")}

    def is_complete(self, folder):
        return len(list(folder.iterdir())) == 5

    def count_different(self, whole, killed):
        return sum(a.read_text() != (killed / a.name).read_text() for a in whole.iterdir())


def test_job_that_goes_on_where_it_was_killed_loses_nothing(tmp_path):
    counts = Counter(Counting(tmp_path, 0, []).run(3))
    assert counts.pop(KILLS) == 3
    assert set(counts.values()) == {0}, counts


def test_job_that_begins_anew_is_found_out(tmp_path):
    counts = Counting(tmp_path, 0, ["again"]).run(3)
    assert counts[TOTALS] == 0
    assert sum(counts.values()) > 3


def test_files_that_were_not_written_to_the_end_are_counted(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    for name in ("last.ckpt", ".last.0123abcd.ckpt", "best.ckpt"):
        (tmp_path / "checkpoints" / name).touch()
    assert count_left(tmp_path) == 1


# ---- disks


@pytest.mark.parametrize(
    ("status", "errors", "expected"),
    [
        (1, "error: /disk/run.json cannot be written (No space left on device): …\n", True),
        (0, "", False),
        (1, "Traceback (most recent call last):\n  /disk\nOSError: …\n", False),
        (1, "error: /disk/x cannot be written: …\nException ignored in: <_io.TextIO\n", False),
        (1, "error: something else\n", False),
    ],
)
def test_error_of_a_disk_is_one_line_that_names_a_file_there(status, errors, expected):
    assert is_one_line(status, errors, Path("/disk")) is expected


@pytest.fixture
def small(idx_dir, monkeypatch) -> list[str]:
    """Overrides of `debug=tiny` for the generated files, which make it faster still."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return [
        "model.backbone.name=resnet18",
        "model.backbone.precision=float32",
        "model.backbone.compile=false",
        f"data.dir={idx_dir}",
        "data.check_md5=false",
        "data.images_per_class=8",
        "data.val_per_class=5",
        "data.synthetic.composites=16",
        "data.synthetic.controls=16",
        "data.batch_size=16",
        "trainer.accelerator=cpu",
    ]


@pytest.fixture
def mounts(tmp_path):
    """Skips a test where this user may not mount file systems."""
    (folder := tmp_path / "mounts").mkdir()
    if not can_mount(folder):
        pytest.skip("file systems cannot be mounted here")


@pytest.mark.slow
def test_run_on_a_full_disk_loses_nothing(small, tmp_path, mounts):
    counts = count_full(tmp_path, 3, 0, small)
    assert counts.pop("tried") == 3
    assert set(counts.values()) == {0}, counts


@pytest.mark.slow
def test_run_whose_files_are_limited_loses_nothing(small, tmp_path):
    counts = count_full(tmp_path, 2, 0, small, limited=True)
    assert counts.pop("tried") == 2
    assert set(counts.values()) == {0}, counts


@pytest.mark.slow
def test_every_command_says_in_one_line_that_a_disk_can_only_be_read(small, tmp_path, mounts):
    counts = count_read_only(tmp_path, small)
    assert counts.pop("tried") >= 8
    assert set(counts.values()) == {0}, counts


@pytest.mark.slow
@pytest.mark.parametrize("phase", [COMPUTING, SAVING], ids=["features", "checkpoint"])
def test_run_that_is_killed_in_a_phase_loses_nothing(small, tmp_path, phase):
    counts = count_defects(tmp_path, 1, 0, small, phase)
    assert counts.pop(KILLS) == 1
    assert set(counts.values()) == {0}, counts


@pytest.mark.slow
def test_two_runs_at_once_give_what_one_gives(small, tmp_path):
    counts = two_at_once.count_defects(tmp_path, small)
    assert counts.pop("tried") == 2
    assert set(counts.values()) == {0}, counts


# ---- users without rights


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_of_another_user_is_one_line(small, tmp_path):
    tmp_path.chmod(0o555)
    command = [sys.executable, "train.py", "debug=tiny", *small, f"paths.logs={tmp_path}"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    tmp_path.chmod(0o755)
    assert is_one_line(ended.returncode, ended.stderr, tmp_path)
    assert "Permission denied" in ended.stderr
