import gc
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path
from unittest import mock

import pytest
from omegaconf import OmegaConf

from fashion_transfer.commands import cli
from fashion_transfer.errors import FashionTransferError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def fresh_environment(monkeypatch):
    with mock.patch.dict(os.environ):
        os.environ.pop("HYDRA_FULL_ERROR", None)
        monkeypatch.setattr(sys, "argv", ["train.py"])
        yield


def raising(error: BaseException):
    def main() -> None:
        raise error

    return main


def ended(main, *arguments) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.run(main, *arguments)
    return caught.value.code


# ---- run


def test_run_prints_nothing_on_success(capsys):
    cli.run(lambda: None)
    assert capsys.readouterr() == ("", "")


def test_run_prints_a_mistake_on_one_line_and_exits_with_status_1(capsys):
    assert ended(raising(FashionTransferError("wrong\nvalue"))) == 1
    assert capsys.readouterr() == ("", "error: wrong value\n")


def test_run_prints_a_mistake_in_the_arguments_on_one_line(capsys):
    def rewrite(arguments):
        raise FashionTransferError("no such run")

    assert ended(lambda: None, rewrite) == 1
    assert capsys.readouterr().err == "error: no such run\n"


def test_run_prints_an_interruption_on_one_line_and_exits_with_status_130(capsys):
    assert ended(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_run_prints_the_hint_of_an_interruption(capsys):
    assert ended(raising(KeyboardInterrupt("the best checkpoint is best.ckpt"))) == 130
    assert capsys.readouterr().err == "interrupted: the best checkpoint is best.ckpt\n"


def test_run_raises_a_defect():
    with pytest.raises(ZeroDivisionError):
        cli.run(raising(ZeroDivisionError()))


def test_run_raises_a_mistake_if_a_traceback_is_asked_for(monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(FashionTransferError):
        cli.run(raising(FashionTransferError("x")))


def test_run_rewrites_the_arguments_before_hydra_sees_them(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "a", "b"])
    seen = []
    cli.run(lambda: seen.extend(sys.argv), lambda given: [argument.upper() for argument in given])
    assert seen == ["train.py", "A", "B"]


def test_run_takes_options_between_overrides(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "a=1", "-m", "b=1,2"])
    seen = []
    cli.run(lambda: seen.extend(sys.argv[1:]), lambda given: given)
    assert seen == ["-m", "a=1", "b=1,2"]


def test_run_gives_runs_of_the_same_second_different_folders(monkeypatch):
    monkeypatch.setattr(cli.time, "strftime", lambda *_: "2024-01-01_00-00-00")
    names = []
    for _ in range(3):
        os.environ.pop("HYDRA_FULL_ERROR", None)
        cli.run(lambda: names.append(os.environ["FASHION_TRANSFER_RUN"]))
    assert len(set(names)) == 3
    assert all(name.startswith("2024-01-01_00-00-00") for name in names)


# ---- job


@pytest.fixture
def hydra_mode(monkeypatch):
    """`hydra_mode("RUN")`: sets the mode of the job in Hydra's configuration."""

    def set_mode(mode: str, sweeper: str = "") -> None:
        config = {"mode": mode, "job": {"num": 3}, "overrides": {"task": ["seed=1", "test=false"]}}
        config["sweeper"] = {"_target_": sweeper}
        from hydra.types import RunMode

        hydra = OmegaConf.create(config, flags={"allow_objects": True})
        hydra.mode = RunMode[mode]
        monkeypatch.setattr(cli.HydraConfig, "get", lambda: hydra)

    return set_mode


def test_job_returns_the_value_of_its_function(hydra_mode):
    hydra_mode("RUN")
    assert cli.job(lambda cfg: cfg.x, OmegaConf.create({"x": 0.5})) == 0.5


def test_job_reports_an_error_of_a_single_job_once(hydra_mode, capsys):
    hydra_mode("RUN")

    def main():
        assert cli.job(lambda cfg: raising(FashionTransferError("wrong"))(), {}) is None

    assert ended(main) == 1
    assert capsys.readouterr().err == "error: wrong\n"
    cli.run(lambda: None)  # and is forgotten then


@pytest.mark.parametrize(
    ("sweeper", "logged"),
    [
        ("hydra._internal.core_plugins.basic_sweeper.BasicSweeper", True),
        ("hydra_plugins.fashion_transfer_sweeps.GridSweeper", False),
    ],
)
def test_job_raises_an_error_in_a_multirun_and_logs_it_where_nobody_else_does(
    hydra_mode, caplog, sweeper, logged
):
    hydra_mode("MULTIRUN", sweeper)
    with pytest.raises(FashionTransferError, match="wrong"):
        cli.job(lambda cfg: raising(FashionTransferError("wrong"))(), {})
    assert ("job 3 (seed=1 test=false) failed: wrong" in caplog.text) == logged


def test_job_raises_an_interruption(hydra_mode):
    hydra_mode("RUN")
    with pytest.raises(KeyboardInterrupt):
        cli.job(lambda cfg: raising(KeyboardInterrupt())(), {})


# ---- messages of libraries


@pytest.mark.parametrize(
    ("name", "message", "shown"),
    [
        ("callbacks.early_stopping", "Metric val/loss improved", True),
        ("callbacks.model_summary", "a table of layers", True),
        ("utilities.rank_zero", "GPU available: False, used: False", False),
        ("trainer.trainer", "anything", False),
    ],
)
def test_lightning_says_what_it_was_asked_to_say(caplog, name, message, shown):
    cli.quieten()
    logging.getLogger(f"lightning.pytorch.{name}").info(message)
    assert caplog.messages == [message] * shown


def test_pillow_does_not_speak_of_what_is_beside_the_picture(recwarn):
    with warnings.catch_warnings():
        cli.quieten()
        for message in ("Metadata Warning, tag 33723 had too many entries", "Corrupt EXIF data"):
            warnings.warn_explicit(
                message, UserWarning, "TiffImagePlugin.py", 1, "PIL.TiffImagePlugin"
            )
    assert not recwarn.list


# ---- the garbage collector


def test_run_collects_garbage_of_jobs_but_not_of_imports(hydra_mode):
    hydra_mode("RUN")
    gc.unfreeze()  # as in a new process
    seen = []

    def main():
        seen.append((gc.isenabled(), gc.get_freeze_count() > 0))
        for _ in range(2):
            cli.job(lambda cfg: seen.append((gc.isenabled(), gc.get_freeze_count() > 0)), {})

    cli.run(main)
    assert seen == [(False, False), (True, True), (True, True)]
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_run_enables_garbage_collection_after_a_mistake():
    ended(raising(FashionTransferError("wrong")))
    assert gc.isenabled()


def test_a_process_ends_without_a_search_for_garbage():
    # Among what importing torch creates it would take a second.
    code = """
from fashion_transfer.commands import cli
class Ring:
    def __del__(self):
        print("found")
def main():
    ring = Ring()
    ring.itself = ring
cli.run(main)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


# ---- the process


@pytest.mark.skipif(os.name == "nt", reason="there are no such pipes")
@pytest.mark.parametrize("arguments", [["--cfg", "job"], ["--help"], ["--info", "defaults"]])
def test_command_ends_without_an_error_when_its_reader_closes_the_pipe(arguments):
    command = [sys.executable, str(ROOT / "train.py"), *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(300) == 141  # as of `yes | head -1`
