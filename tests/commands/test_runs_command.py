import csv
import io
import json
import os
import pty
import re
import sys

import pytest
from filelock import FileLock
from run_folders import write_run

from fashion_transfer.commands import runs as command
from fashion_transfer.commands.run_details import default_settings


@pytest.fixture
def logs(tmp_path, monkeypatch):
    """Six runs: two of two seeds each, a failed one, a debug run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    logs = tmp_path / "logs"
    for number, (images, seed) in enumerate([(100, 0), (100, 1), (500, 0), (500, 1)]):
        config = {"data.images_per_class": images, "seed": seed}
        started = f"2026-11-26T09:3{number}:00+00:00"
        path = f"train/multiruns/2026-11-26_09-30-00_6c145aed/{number}"
        write_run(logs, path, config, accuracy=0.5 + number / 8, started=started)
    failed = {"status": "failed", "error": "bad\x1b[31m value"}
    write_run(logs, "train/runs/broken", {"model.optimizer.lr": 0.3}, **failed)
    write_run(logs, "train/runs/try", accuracy=0.9, choices={"debug": "tiny"})
    return logs


@pytest.fixture
def listed(logs, capsys):
    """`listed(*arguments)`: what `runs.py` prints."""

    def call(*arguments: str) -> str:
        command.main(list(arguments))
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out

    return call


@pytest.fixture
def mistake():
    """`mistake(*arguments)`: the one line that `runs.py` ends with for a mistake."""

    def call(*arguments: str) -> str:
        with pytest.raises(SystemExit) as end:
            command.main(list(arguments))
        [line] = end.value.code.splitlines()
        assert line.startswith("error: ")
        return line.removeprefix("error: ")

    return call


def test_table_shows_every_run_but_debug_runs_the_best_first(listed):
    out = listed()
    names = re.findall(r"6c145aed/\d|broken|try", out)
    assert names == [*(f"6c145aed/{n}" for n in (3, 2, 1, 0)), "broken", "broken"]
    assert "87.50%" in out
    assert r"broken failed: bad\x1b[31m value" in out
    assert "5 runs, by val/loss; 1 debug run left out, see --all" in out
    assert max(map(len, out.splitlines())) <= 80


def test_all_shows_debug_runs_too(listed):
    assert "6 runs" in listed("--all")


def test_where_sort_reverse_and_limit(listed):
    out = listed("--where", "data.images_per_class=500", "--where", "seed>=0")
    assert "3 runs, by val/loss; 1 debug run left out" in out
    assert "debug" not in listed("--where", "data.images_per_class=100")
    out = listed(
        "--where", "status=finished", "--sort", "val/accuracy", "--reverse", "--limit", "1"
    )
    assert "6c145aed/0" in out
    assert "1 run of 4, by val/accuracy" in out


def test_seeds_are_folded(listed):
    out = listed("--seeds", "--commands")
    assert "81.25 ± 8.84%" in out
    assert "2 rows, by val/loss; 1 unfinished run left out" in out
    assert "python train.py -m data.images_per_class=500 seed=0,1" in out


def test_columns_and_metrics_can_be_chosen(listed):
    out = listed("--metric", "seconds/test", "--limit", "1")
    assert "seconds/" in out
    assert "val/accuracy" not in out
    assert "0.5" in out
    heading = listed("--columns", "seed,commit").splitlines()[0]
    assert heading.split() == ["run", "seed", "commit"]


def test_commands_are_printed_whole(listed):
    out = listed("--commands")
    assert "6c145aed/3: python train.py data.images_per_class=500 seed=1" in out.splitlines()


def test_no_run_fits(listed):
    assert listed("--where", "seed=9").startswith("no run fits")


def test_output_csv_has_everything(listed):
    assert "written: a.csv" in listed("--output", "a.csv")
    with open("a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    assert rows[0]["val/accuracy"] == "0.875"
    assert rows[0]["model.optimizer.lr"] == "0.001"
    assert rows[0]["command"].startswith("python train.py")


def test_output_markdown_has_the_command(listed, tmp_path):
    listed("--output", "a.md")
    lines = (tmp_path / "a.md").read_text().splitlines()
    assert len(lines) == 7
    assert lines[0].startswith("| run | ")
    assert lines[0].endswith("| command |")


def test_output_html_is_one_page(listed, tmp_path):
    listed("--output", "a.html", "--all")
    html = (tmp_path / "a.html").read_text()
    assert html.count('<tbody class="run">') == 6


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--where", "sed=1"], "--where sed: no run has it; the nearest is seed"),
        (["--where", "500"], "--where 500 is no condition"),
        (["--sort", "val/acuracy"], "the nearest is val/accuracy"),
        (["--metric", "val/los"], "--metric val/los: no run has it; the nearest is val/loss"),
        (["--columns", "sed"], "--columns sed: no run has it; the nearest is seed"),
        (["--limit", "0"], "--limit: must be a whole number from 1, got '0'"),
        (["--output", "a.xlsx"], "--output a.xlsx must end in .html, .md or .csv"),
        (["--output", "none/a.md"], "--output none/a.md: there is no folder none"),
        (["--logs", "none"], "there is no folder none: run `python train.py` first"),
        (["paths.logs=x"], "paths.logs=DIR is --logs DIR here: see `python runs.py --help`"),
        (["show", "last", "paths.logs=x"], "paths.logs=DIR is --logs DIR here"),
        (["--nothing"], "unrecognized arguments: --nothing: see `python runs.py --help`"),
        (["shw"], "invalid choice: 'shw'"),
        (["show"], "RUN"),
        (["show", "none"], "no run under logs has none in its path"),
        (["diff", "last", "6c145aed"], "6c145aed holds 4 runs: name one of them"),
    ],
)
def test_mistakes_are_one_line(logs, mistake, arguments, line):
    assert line in mistake(*arguments)


def test_empty_logs_say_what_to_run(tmp_path, mistake):
    assert "run `python train.py` first" in mistake("--logs", str(tmp_path))


def test_show_prints_one_run_in_full(listed):
    out = listed("show", "6c145aed/3")
    assert "status: finished" in out
    assert "command: python train.py data.images_per_class=500 seed=1" in out
    assert re.search(r"^seed +1 +0$", out, re.M)
    assert "run.json" in out
    assert "87.50%" in out


def test_show_prints_why_a_run_failed(listed):
    assert r"error: bad\x1b[31m value" in listed("show", "broken")


def test_show_takes_last_and_best(listed):
    assert "6c145aed/3" in listed("show", "best")
    assert "6c145aed/3" in listed("show", "last")


def test_show_of_a_sweep_prints_its_table(listed):
    out = listed("show", "6c145aed")
    assert "4 runs" in out
    assert "broken" not in out


def test_show_of_an_unreadable_run_says_so(listed, logs):
    (logs / "train/runs/broken/run.json").write_text("{")
    assert "status: unreadable" in listed("show", "broken")
    assert "unreadable" in listed()


def test_best_needs_a_metric_in_common(logs, mistake):
    config = {"monitor.metric": "val/accuracy"}
    write_run(logs, "train/runs/other", config, accuracy=0.5)
    assert "no monitor.metric in common" in mistake("show", "best")


def test_diff_shows_settings_and_metrics_side_by_side(listed):
    out = listed("diff", "6c145aed/0", "6c145aed/3")
    assert re.search(r"^data.images_per_class +100 +500$", out, re.M)
    assert re.search(r"^val/accuracy +50.00% +87.50% +\+37.50%$", out, re.M)
    assert "model.optimizer" not in out


def test_diff_of_a_run_with_itself(listed):
    assert "no difference" in listed("diff", "last", "last")


def test_prune_without_a_terminal_needs_yes(logs, mistake, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert "use --yes" in mistake("prune")
    assert (logs / "train/runs/broken").is_dir()


def test_prune_lists_and_removes_debug_and_failed_runs(listed, logs):
    out = listed("prune", "--dry-run")
    assert "2 runs" in out
    assert "nothing is removed" in out
    assert (logs / "train/runs/broken").is_dir()
    assert "removed 2 runs" in listed("prune", "--yes")
    assert not (logs / "train/runs").exists()
    assert "4 runs" in listed()
    assert "nothing to remove" in listed("prune", "--yes")


def test_prune_of_some_runs(listed, logs):
    assert "removed 1 run" in listed("prune", "--yes", "--where", "status=failed")
    assert (logs / "train/runs/try").is_dir()


def test_prune_spares_a_running_run(listed, logs):
    folder = write_run(logs, "train/runs/now")
    with FileLock(folder / ".lock"):
        listed("prune", "--yes")
    assert (folder / "run.json").is_file()


@pytest.mark.parametrize(("answer", "stays"), [("y\n", False), ("n\n", True), ("\n", True)])
def test_prune_asks(listed, logs, monkeypatch, answer, stays):
    ours, theirs = pty.openpty()
    os.write(ours, answer.encode())
    with open(theirs) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        listed("prune")
    os.close(ours)
    assert (logs / "train/runs/broken").is_dir() is stays


def test_help_names_the_commands(capsys):
    with pytest.raises(SystemExit) as end:
        command.main(["--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    for word in ("show", "diff", "prune", "--where", "--seeds", "--output"):
        assert word in out


def test_default_settings_are_those_of_train_py():
    values = default_settings()
    assert values["model.optimizer"] == "adamw"
    assert values["seed"] == 0


@pytest.mark.slow
def test_a_real_run_is_listed(train, tmp_path, process):
    trained = train(tmp_path / "logs", "seed=3")
    shown = process("runs.py", "--logs", str(tmp_path / "logs"))
    assert shown.returncode == 0, shown.stderr
    assert "1 run, by val/loss" in shown.stdout
    name = trained.folder.name[-8:]
    shown = process("runs.py", "show", name, "--logs", str(tmp_path / "logs"))
    assert "seed=3" in shown.stdout
    assert json.loads((trained.folder / "run.json").read_text())["status"] == "finished"


def test_a_reader_that_stops_early_gets_no_traceback(logs, process):
    code = (
        "import subprocess, sys;"
        f"p = subprocess.Popen([sys.executable, '-c', 'from fashion_transfer.commands.runs import "
        f"main; main()', '--logs', {str(logs)!r}], stdout=subprocess.PIPE, stderr=subprocess.PIPE);"
        "p.stdout.close(); print(p.stderr.read().decode())"
    )
    assert process(code).stdout.strip() == ""
