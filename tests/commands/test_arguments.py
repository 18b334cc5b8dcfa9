import os
import shlex
import subprocess
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from fashion_transfer.commands.arguments import (
    RENAMED,
    RENAMED_WITHOUT_TRAINER,
    check_renamed,
    evaluate_arguments,
    options_first,
    resume_arguments,
    resume_command,
    split_arguments,
    train_arguments,
)
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.runs.folders import run_lock
from fashion_transfer.runs.record import RunRecord, write_record

# ---- check_renamed


@pytest.mark.parametrize("prefix", ["", "+", "++", "~"])
@pytest.mark.parametrize(
    ("override", "now"),
    [
        ("data.composites=0", "data.synthetic.composites"),
        ("data.controls=0,10", "data.synthetic.controls"),
        ("model.tail_lr=null", "model.trainable_stage_lr"),
        ("model.backbone.unfreeze_last=false", "model.backbone.unfreeze=null"),
        ("model.backbone.unfreeze_last=true", "model.backbone.unfreeze=layer4"),
        ("model.threshold=auto", "policy.threshold"),
        ("model.auto.warned=0.1", "policy.threshold_target.warned"),
        ("policy.auto.selective_accuracy=0.9", "policy.threshold_target.selective_accuracy"),
        ("policy.auto={warned: 0.1}", "policy.threshold_target"),
        ("optimized_metric=null", "monitor.metric"),
        ("callbacks.best.monitor=val/accuracy", "monitor.metric"),
        ("callbacks.best.mode=max", "monitor.mode"),
        ("kinds=0", "images_per_set"),
        ("data=test", "data=fashion_mnist"),
        ("model=classifier", "model=default"),
        ("trainer=evaluate", "device=auto"),
    ],
)
def test_check_renamed_names_the_new_key(override, now, prefix):
    before = override if now.rpartition("=")[1] else override.partition("=")[0]
    for arguments in ([f"{prefix}{override}"], ["--multirun", "seed=1", f"{prefix}{override}"]):
        with pytest.raises(FashionTransferError) as caught:
            check_renamed(arguments, RENAMED)
        assert str(caught.value) == f"{before} is now {now}"


def test_check_renamed_takes_a_deletion_without_a_value():
    with pytest.raises(FashionTransferError, match="is now policy.threshold_target"):
        check_renamed(["~policy.auto"], RENAMED)


@pytest.mark.parametrize(
    "argument",
    [
        "data=fashion_mnist",
        "model.head.name=mlp",
        "model/head=mlp",
        "policy.threshold=auto",
        "data.synthetic.composites=0",
        "callbacks.best.filename=best",
        "trainer=default",
        "kinds",
        "input=kinds",
        "-m",
    ],
)
def test_check_renamed_accepts_other_arguments(argument):
    check_renamed([argument], RENAMED_WITHOUT_TRAINER)


def test_train_arguments_reject_a_renamed_key():
    with pytest.raises(FashionTransferError, match=r"kinds is now images_per_set"):
        train_arguments(["kinds=3"])


def test_evaluate_arguments_reject_a_trainer_that_train_arguments_accept():
    given = ["trainer.accelerator=cpu"]
    assert train_arguments(given) == given
    with pytest.raises(FashionTransferError, match=r"trainer.accelerator is now device"):
        evaluate_arguments(given)


def test_train_arguments_reject_a_run_that_was_started_with_a_renamed_key(stopped):
    stopped("runs/a", "data.composites=0")
    with pytest.raises(FashionTransferError, match=r"is now data.synthetic.composites"):
        train_arguments(["ckpt_path=last"])


# ---- paths


def test_arguments_of_every_command_are_quoted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for rewrite in (train_arguments, evaluate_arguments):
        assert value_of("ckpt_path", rewrite(["ckpt_path=a (1).ckpt"])) == "a (1).ckpt"


# ---- resume_arguments


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """`stopped(name, *overrides)`: the folder of a run that ended after some epoch.

    Each is newer than the one before. The working folder is where `logs` is.
    """
    monkeypatch.chdir(tmp_path)
    folders = []

    def create(name: str, *overrides: str, logs: str = "logs") -> Path:
        folder = Path(logs, "train", name)
        (folder / "checkpoints").mkdir(parents=True)
        command = shlex.join(["python", "train.py", *overrides])
        write_record(RunRecord(folder, command=command))
        last = folder / "checkpoints" / "last.ckpt"
        last.touch()
        folders.append(folder)
        os.utime(last, (1e9 + len(folders), 1e9 + len(folders)))
        return folder

    return create


def value_of(key: str, arguments: list[str]) -> str:
    """The value of one of the arguments, as Hydra parses it."""
    parsed = OverridesParser.create().parse_overrides(arguments)
    [value] = [override.value() for override in parsed if override.key_or_group == key]
    return str(value)


def test_resume_arguments_without_ckpt_path_last_change_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in ([], ["seed=1"], ["ckpt_path=logs/last.ckpt"], ["-m", "seed=1,2"]):
        assert resume_arguments(list(arguments)) == arguments


def test_resume_arguments_continue_a_run_in_its_folder_with_its_overrides(stopped):
    folder = stopped("runs/a", "seed=3", "model/head=mlp")
    resumed = resume_arguments(["ckpt_path=last"])
    assert resumed[:2] == ["seed=3", "model/head=mlp"]
    assert value_of("hydra.run.dir", resumed) == str(folder)
    assert value_of("ckpt_path", resumed) == str(folder / "checkpoints" / "last.ckpt")


def test_resume_arguments_print_the_folder(stopped, capsys):
    folder = stopped("runs/a")
    resume_arguments(["ckpt_path=last"])
    assert str(folder) in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["with space", "a=b,c", "it's", "{x}", "[1]", "Müller", "back\\slash", "a:b", "$x"]
)
def test_resume_arguments_quote_any_folder_name(stopped, name):
    if os.name == "nt" and set(name) & set("\\:"):
        pytest.skip("no file name there")
    folder = stopped(f"runs/{name}")
    resumed = resume_arguments(["ckpt_path=last"])
    assert value_of("hydra.run.dir", resumed).replace("\\$", "$") == str(folder)


def test_resume_arguments_choose_the_run_that_was_written_to_last(stopped):
    stopped("runs/2030")
    newer = stopped("runs/2020")
    assert value_of("hydra.run.dir", resume_arguments(["ckpt_path=last"])) == str(newer)


def test_resume_arguments_continue_a_job_of_a_multirun(stopped):
    stopped("runs/a")
    job = stopped("multiruns/b/3", "seed=3")
    resumed = resume_arguments(["ckpt_path=last"])
    assert value_of("hydra.run.dir", resumed) == str(job)
    assert value_of("seed", resumed) == "3"


def test_resume_arguments_skip_a_finished_run(stopped):
    older, newer = stopped("runs/a"), stopped("runs/b")
    (newer / "metrics.json").write_text("{}")
    assert value_of("hydra.run.dir", resume_arguments(["ckpt_path=last"])) == str(older)


def test_resume_arguments_skip_a_run_in_progress(stopped):
    older, newer = stopped("runs/a"), stopped("runs/b")
    with run_lock(newer):
        assert value_of("hydra.run.dir", resume_arguments(["ckpt_path=last"])) == str(older)
    assert value_of("hydra.run.dir", resume_arguments(["ckpt_path=last"])) == str(newer)


def test_resume_arguments_leave_the_run_unlocked(stopped):
    folder = stopped("runs/a")
    resume_arguments(["ckpt_path=last"])
    with run_lock(folder):
        pass


def test_resume_arguments_without_an_unfinished_run_raise(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FashionTransferError, match=r"ckpt_path=last: no unfinished run"):
        resume_arguments(["ckpt_path=last"])


def test_resume_arguments_continue_the_run_of_a_folder(stopped):
    folder = stopped("runs/a", "seed=3")
    stopped("runs/b")
    resumed = resume_arguments(["ckpt_path=last", f"hydra.run.dir={folder}"])
    assert value_of("hydra.run.dir", resumed) == str(folder)
    assert value_of("seed", resumed) == "3"


def test_resume_arguments_reject_a_folder_without_an_unfinished_run(stopped, tmp_path):
    stopped("runs/a")
    with pytest.raises(FashionTransferError, match="under elsewhere"):
        resume_arguments(["ckpt_path=last", "hydra.run.dir=elsewhere"])


def test_resume_arguments_keep_the_log_folder_of_the_run(stopped):
    folder = stopped("runs/a", "paths.logs=${oc.env:HOME}/logs")
    resumed = resume_arguments([f"hydra.run.dir={folder}", "ckpt_path=last"])
    assert "paths.logs=${oc.env:HOME}/logs" in [argument.replace("'", "") for argument in resumed]


def test_resume_arguments_fill_in_variables(stopped, monkeypatch):
    monkeypatch.setenv("SCRATCH", "elsewhere")
    folder = stopped("runs/a", logs="elsewhere/logs")
    for given in (
        "paths.logs=${oc.env:SCRATCH}/logs",
        f"hydra.run.dir=${{oc.env:SCRATCH}}/{folder.relative_to('elsewhere')}",
    ):
        resumed = resume_arguments([given, "ckpt_path=last"])
        assert value_of("hydra.run.dir", resumed) == str(folder)


def test_resume_arguments_name_the_users_own_folder_of_configurations(stopped):
    stopped("runs/a", "--config-dir", "/my conf", "experiment=mine")
    resumed = resume_arguments(["ckpt_path=last"])
    assert resumed[:3] == ["--config-dir", "/my conf", "experiment=mine"]


def test_resume_command_continues_this_run_and_no_other(stopped):
    folder = stopped("runs/it's (1)", "seed=3")
    stopped("runs/b")
    command = resume_command(OmegaConf.create({"run": {"dir": str(folder)}}))
    resumed = train_arguments(shlex.split(command)[2:])
    assert value_of("hydra.run.dir", resumed) == str(folder)
    assert value_of("seed", resumed) == "3"


@pytest.mark.parametrize(
    "logs", ["it's (1)", "a b", "x=1,2", "{a}", "[b]", "caf\udce9", "two\nlines", "~x", "$x", "é#"]
)
def test_resume_command_continues_the_run_when_it_is_pasted_into_a_shell(stopped, logs):
    given = train_arguments([f"paths.logs={logs}", "data.dir=~/my photos"])
    folder = stopped("runs/a", *given, logs=logs)
    stopped("runs/b")
    command = resume_command(OmegaConf.create({"run": {"dir": str(folder)}}))
    shell = subprocess.run(
        ["sh", "-c", f"printf '%s\\0' {command}"], capture_output=True, check=True
    )
    pasted = [os.fsdecode(argument) for argument in shell.stdout.split(b"\0")[:-1]]
    resumed = train_arguments(pasted[2:])
    assert value_of("hydra.run.dir", resumed) == str(folder)
    assert value_of("paths.logs", resumed) == logs
    assert value_of("data.dir", resumed) == os.path.expanduser("~/my photos")


@pytest.mark.parametrize(
    "given",
    ["paths.logs=${oc.env:LOGS}/x", "+paths.logs=elsewhere/x", "++paths.logs='elsewhere/x'"],
)
def test_resume_arguments_look_in_paths_logs_however_it_is_written(stopped, monkeypatch, given):
    monkeypatch.setenv("LOGS", "elsewhere")
    folder = stopped("runs/a", logs="elsewhere/x")
    for last in ("ckpt_path=last", "++ckpt_path=last", "ckpt_path='last'"):
        resumed = train_arguments([given, last])
        assert value_of("hydra.run.dir", resumed) == str(folder)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "ckpt_path=last", "seed=0,1"], "sweep.resume=true continues a sweep"),
        (["hydra.mode=MULTIRUN", "ckpt_path=last"], "sweep.resume=true continues a sweep"),
        (["sweep.resume=true", "seed=0"], "add -m"),
        (["+sweep.resume=true"], "add -m"),
    ],
)
def test_train_arguments_do_not_mix_runs_and_sweeps(arguments, message):
    with pytest.raises(FashionTransferError, match=message):
        train_arguments(arguments)


def test_resume_arguments_reject_a_run_stopped_in_its_first_epoch(stopped):
    (stopped("runs/a") / "checkpoints" / "last.ckpt").unlink()
    with pytest.raises(FashionTransferError, match="no unfinished run"):
        resume_arguments(["ckpt_path=last"])


@pytest.mark.parametrize("other", ["seed=4", "trainer.max_epochs=9", "-m", "+x=1", "~logger"])
def test_resume_arguments_reject_overrides_that_would_change_the_run(stopped, other):
    stopped("runs/a", "seed=3")
    with pytest.raises(FashionTransferError, match="leave out") as caught:
        resume_arguments([other, "ckpt_path=last"])
    assert other in str(caught.value)


def test_resume_arguments_accept_the_overrides_of_the_run(stopped):
    stopped("runs/a", "seed=3", "test=false")
    resumed = resume_arguments(["seed=3", "ckpt_path=last"])
    assert resumed.count("seed=3") == 1
    assert "test=false" in resumed


def test_train_arguments_resume_a_run_whose_paths_needed_quotes(stopped):
    folder = stopped("runs/a", "data.dir='my data, 2'", "paths.logs='it\\'s'", logs="it's")
    resumed = train_arguments(["data.dir=my data, 2", "paths.logs=it's", "ckpt_path=last"])
    assert value_of("hydra.run.dir", resumed) == str(folder)
    assert value_of("data.dir", resumed) == "my data, 2"


@pytest.mark.parametrize("given", ["paths.logs=elsewhere", "paths.logs='elsewhere'"])
def test_resume_arguments_look_for_runs_in_paths_logs(stopped, given):
    stopped("runs/a")
    folder = stopped("runs/b", "seed=3", "paths.logs=elsewhere", logs="elsewhere")
    resumed = resume_arguments(["ckpt_path=last", given])
    assert value_of("hydra.run.dir", resumed) == str(folder)
    assert value_of("paths.logs", resumed) == "elsewhere"


# ---- options_first


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], []),
        (["a=1", "b=2"], ["a=1", "b=2"]),
        (["a=1", "-m", "b=1,2"], ["-m", "a=1", "b=1,2"]),
        (
            ["a=-1", "--config-dir", "x y", "b=2", "-m"],
            ["--config-dir", "x y", "-m", "a=-1", "b=2"],
        ),
        (["a=1", "--cfg=job", "~b"], ["--cfg=job", "a=1", "~b"]),
        (["a=1", "-c", "job", "-p", "model"], ["-c", "job", "-p", "model", "a=1"]),
    ],
)
def test_options_may_stand_between_overrides(arguments, expected):
    assert options_first(arguments) == expected


# ---- split_arguments


@pytest.mark.parametrize(
    ("arguments", "paths", "rest"),
    [
        ([], [], []),
        (["a.jpg", "b.jpg"], ["a.jpg", "b.jpg"], []),
        (["nowhere/at/all.jpg"], ["nowhere/at/all.jpg"], []),
        (["*.jpg"], ["*.jpg"], []),
        (["IMG (1).jpg", "a,b.jpg", "it's.jpg"], ["IMG (1).jpg", "a,b.jpg", "it's.jpg"], []),
        (["a.jpg", "ckpt_path=x.ckpt", "b.jpg"], ["a.jpg", "b.jpg"], ["ckpt_path=x.ckpt"]),
        (["input=[a.jpg,b.jpg]"], [], ["input=[a.jpg,b.jpg]"]),
        (["+a.b=1", "++c=2"], [], ["+a.b=1", "++c=2"]),
        (["~policy.threshold"], [], ["~policy.threshold"]),
        (["-m"], [], ["-m"]),
        (["--help"], [], ["--help"]),
        (["--cfg", "job", "a.jpg"], ["a.jpg"], ["--cfg", "job"]),
        (["-c", "job", "--resolve"], [], ["-c", "job", "--resolve"]),
        (["a.jpg", "--config-name", "other"], ["a.jpg"], ["--config-name", "other"]),
        (["--config-name=other", "a.jpg"], ["a.jpg"], ["--config-name=other"]),
        (["-cd", "folder", "-cn", "x"], [], ["-cd", "folder", "-cn", "x"]),
        (["--config-path", "folder", "b"], ["b"], ["--config-path", "folder"]),
        (["--package", "model"], [], ["--package", "model"]),
        (["-", "-m"], ["-"], ["-m"]),
        (
            ["a", "b=1", "--", "c=2", "-m", "--help", "~x"],
            ["a", "c=2", "-m", "--help", "~x"],
            ["b=1"],
        ),
        (["--", "--"], ["--"], []),
        (["--"], [], []),
        (["~/nowhere.jpg"], ["~/nowhere.jpg"], []),
    ],
)
def test_split_arguments_separates_paths_from_hydras(tmp_path, monkeypatch, arguments, paths, rest):
    monkeypatch.chdir(tmp_path)
    assert split_arguments(arguments) == (paths, rest)


@pytest.mark.parametrize(
    "name", ["a=b.png", "-x.png", "+a=1", "ckpt_path=x", "~y", "-m", "kinds=1"]
)
def test_split_arguments_takes_an_existing_file_for_a_path(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).touch()
    assert split_arguments([name, f"./{name}"]) == ([name, f"./{name}"], [])


def test_split_arguments_takes_a_link_that_leads_nowhere_for_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.symlink("gone", "x=1.jpg")
    assert split_arguments(["x=1.jpg"]) == (["x=1.jpg"], [])


def test_split_arguments_after_a_file_that_is_named_like_an_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("-c").touch()
    assert split_arguments(["-c", "a.jpg"]) == (["-c", "a.jpg"], [])


def test_split_arguments_takes_a_name_that_is_too_long_for_a_file(tmp_path):
    assert split_arguments(["x" * 5000]) == (["x" * 5000], [])


def test_split_arguments_takes_an_existing_folder_for_a_path(tmp_path):
    assert split_arguments([str(tmp_path)]) == ([str(tmp_path)], [])


def test_split_arguments_takes_no_value_of_an_option_for_a_path(tmp_path):
    assert split_arguments(["--config-dir", str(tmp_path), str(tmp_path)]) == (
        [str(tmp_path)],
        ["--config-dir", str(tmp_path)],
    )
