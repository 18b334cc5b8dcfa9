import gc
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from hydra.errors import ConfigCompositionException, InstantiationException
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

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


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


# ---- explain


def test_our_own_error_is_told_as_it_is():
    assert cli.explain(FashionTransferError("no such file: look again")) == (
        "no such file: look again"
    )


def test_our_own_error_is_found_behind_what_it_caused():
    error = caused(InstantiationException("long story"), FashionTransferError("the point"))
    assert cli.explain(caused(RuntimeError("longer story"), error)) == "the point"


def test_several_lines_become_one():
    assert cli.explain(FashionTransferError("first\n  second\n\nthird ")) == "first second third"


@pytest.mark.parametrize(
    "error",
    [
        ConfigCompositionException("no such key\nfull_key: x"),
        OmegaConfBaseException("no such key\nfull_key: x"),
        MisconfigurationException("no such key\nfull_key: x"),
    ],
)
def test_a_librarys_word_for_a_wrong_setting_is_a_mistake_too(error):
    message = cli.explain(error)
    assert message.startswith("no such key full_key: x")
    assert "HYDRA_FULL_ERROR=1" in message


@pytest.mark.parametrize("error", [ValueError("x"), KeyError("x"), AssertionError(), OSError()])
def test_everything_else_is_a_defect(error):
    assert cli.explain(error) is None


# ---- run


def test_success_says_nothing(capsys):
    cli.run(lambda: None)
    assert capsys.readouterr() == ("", "")


def test_a_mistake_is_one_line_and_status_1(capsys):
    assert ended(raising(FashionTransferError("wrong\nvalue"))) == 1
    assert capsys.readouterr() == ("", "error: wrong value\n")


def test_a_mistake_in_the_arguments_is_one_line_too(capsys):
    def rewrite(arguments):
        raise FashionTransferError("no such run")

    assert ended(lambda: None, rewrite) == 1
    assert capsys.readouterr().err == "error: no such run\n"


def test_an_interruption_is_one_line_and_status_130(capsys):
    assert ended(raising(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_an_interruption_may_say_what_was_kept(capsys):
    assert ended(raising(KeyboardInterrupt("best.ckpt is kept"))) == 130
    assert capsys.readouterr().err == "interrupted: best.ckpt is kept\n"


def test_a_defect_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        cli.run(raising(ZeroDivisionError()))


def test_whoever_asks_for_a_traceback_gets_it(monkeypatch):
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(FashionTransferError):
        cli.run(raising(FashionTransferError("x")))


def test_hydra_sees_the_rewritten_arguments(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "a", "b"])
    seen = []
    cli.run(lambda: seen.extend(sys.argv), lambda given: [argument.upper() for argument in given])
    assert seen == ["train.py", "A", "B"]


def test_runs_of_the_same_second_have_folders_of_their_own(monkeypatch):
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
    """`hydra_mode("RUN")`: what Hydra says of the job that is under way."""

    def say(mode: str) -> None:
        config = {"mode": mode, "job": {"num": 3}, "overrides": {"task": ["seed=1", "test=false"]}}
        from hydra.types import RunMode

        found = OmegaConf.create(config, flags={"allow_objects": True})
        found.mode = RunMode[mode]
        monkeypatch.setattr(cli.HydraConfig, "get", lambda: found)

    return say


def test_a_job_gives_what_its_function_returns(hydra_mode):
    hydra_mode("RUN")
    assert cli.job(lambda cfg: cfg.x, OmegaConf.create({"x": 0.5})) == 0.5


def test_an_error_of_a_single_job_reaches_the_user_once(hydra_mode, capsys):
    hydra_mode("RUN")

    def main():
        assert cli.job(lambda cfg: raising(FashionTransferError("wrong"))(), {}) is None

    assert ended(main) == 1
    assert capsys.readouterr().err == "error: wrong\n"
    cli.run(lambda: None)  # and is forgotten then


def test_an_error_of_a_job_among_many_is_logged_and_raised(hydra_mode, caplog):
    hydra_mode("MULTIRUN")
    with pytest.raises(FashionTransferError):
        cli.job(lambda cfg: raising(FashionTransferError("wrong"))(), {})
    assert "job 3 (seed=1 test=false) failed: wrong" in caplog.text


def test_an_interruption_of_a_job_is_not_an_error(hydra_mode):
    hydra_mode("RUN")
    with pytest.raises(KeyboardInterrupt):
        cli.job(lambda cfg: raising(KeyboardInterrupt())(), {})


# ---- the garbage collector


def test_imports_are_not_searched_for_garbage_and_jobs_are(hydra_mode):
    hydra_mode("RUN")
    seen = []

    def main():
        seen.append((gc.isenabled(), gc.get_freeze_count() > 0))
        for _ in range(2):
            cli.job(lambda cfg: seen.append((gc.isenabled(), gc.get_freeze_count() > 0)), {})

    cli.run(main)
    assert seen == [(False, False), (True, True), (True, True)]
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_garbage_is_collected_again_after_a_mistake():
    ended(raising(FashionTransferError("wrong")))
    assert gc.isenabled()


# ---- the process


def test_a_reader_that_has_seen_enough_is_no_error():
    command = [sys.executable, str(ROOT / "train.py"), "--cfg", "job"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, text=True
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == 0
