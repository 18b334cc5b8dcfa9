import os
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from fashion_transfer.commands.arguments import resume_arguments, split_arguments
from fashion_transfer.commands.runs import run_lock
from fashion_transfer.errors import FashionTransferError

# ---- resume_arguments


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """`stopped(name, *overrides)`: the folder of a run that ended after some epoch.

    Each is newer than the one before. The working folder is where `logs` is.
    """
    monkeypatch.chdir(tmp_path)
    made = []

    def make(name: str, *overrides: str, logs: str = "logs") -> Path:
        folder = Path(logs, "train", name)
        (folder / ".hydra").mkdir(parents=True)
        (folder / ".hydra" / "overrides.yaml").write_text(yaml.safe_dump(list(overrides)))
        (folder / "checkpoints").mkdir()
        last = folder / "checkpoints" / "last.ckpt"
        last.touch()
        made.append(folder)
        os.utime(last, (1e9 + len(made), 1e9 + len(made)))
        return folder

    return make


def value_of(key: str, arguments: list[str]) -> str:
    """What Hydra understands one of the arguments to say."""
    parsed = OverridesParser.create().parse_overrides(arguments)
    [value] = [override.value() for override in parsed if override.key_or_group == key]
    return str(value)


def test_arguments_without_ckpt_path_last_stay_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arguments in ([], ["seed=1"], ["ckpt_path=logs/last.ckpt"], ["-m", "seed=1,2"]):
        assert resume_arguments(list(arguments)) == arguments


def test_a_run_goes_on_in_its_folder_as_it_was_started(stopped):
    folder = stopped("runs/a", "seed=3", "model/head=mlp")
    found = resume_arguments(["ckpt_path=last"])
    assert found[:2] == ["seed=3", "model/head=mlp"]
    assert value_of("hydra.run.dir", found) == str(folder)
    assert value_of("ckpt_path", found) == str(folder / "checkpoints" / "last.ckpt")


def test_the_folder_is_named_before_it_goes_on(stopped, capsys):
    folder = stopped("runs/a")
    resume_arguments(["ckpt_path=last"])
    assert str(folder) in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["with space", "a=b,c", "it's", "{x}", "[1]", "Müller", "back\\slash", "a:b", "$x"]
)
def test_any_folder_name_reaches_hydra_whole(stopped, name):
    if os.name == "nt" and set(name) & set("\\:"):
        pytest.skip("no file name there")
    folder = stopped(f"runs/{name}")
    found = resume_arguments(["ckpt_path=last"])
    assert value_of("hydra.run.dir", found).replace("\\$", "$") == str(folder)


def test_the_run_that_was_written_to_last_goes_on(stopped):
    stopped("runs/2030")
    newer = stopped("runs/2020")
    assert value_of("hydra.run.dir", resume_arguments(["ckpt_path=last"])) == str(newer)


def test_a_job_of_a_multirun_goes_on_too(stopped):
    stopped("runs/a")
    job = stopped("multiruns/b/3", "seed=3")
    found = resume_arguments(["ckpt_path=last"])
    assert value_of("hydra.run.dir", found) == str(job)
    assert value_of("seed", found) == "3"


def test_a_finished_run_is_passed_over(stopped):
    older, newer = stopped("runs/a"), stopped("runs/b")
    (newer / "metrics.json").write_text("{}")
    assert value_of("hydra.run.dir", resume_arguments(["ckpt_path=last"])) == str(older)


def test_a_run_that_somebody_is_at_is_passed_over(stopped):
    older, newer = stopped("runs/a"), stopped("runs/b")
    with run_lock(newer):
        assert value_of("hydra.run.dir", resume_arguments(["ckpt_path=last"])) == str(older)
    assert value_of("hydra.run.dir", resume_arguments(["ckpt_path=last"])) == str(newer)


def test_looking_for_a_run_leaves_it_free(stopped):
    folder = stopped("runs/a")
    resume_arguments(["ckpt_path=last"])
    with run_lock(folder):
        pass


def test_a_run_that_was_resumed_before_goes_on_again(stopped):
    # What Hydra wrote down the second time holds the checkpoint of then.
    folder = stopped("runs/a", "seed=3", "ckpt_path='elsewhere/last.ckpt'")
    found = resume_arguments(["ckpt_path=last"])
    assert value_of("ckpt_path", found) == str(folder / "checkpoints" / "last.ckpt")
    assert value_of("seed", found) == "3"


def test_no_unfinished_run_is_a_mistake(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FashionTransferError, match=r"ckpt_path=last: no unfinished run"):
        resume_arguments(["ckpt_path=last"])


def test_a_run_stopped_in_its_first_epoch_cannot_go_on(stopped):
    (stopped("runs/a") / "checkpoints" / "last.ckpt").unlink()
    with pytest.raises(FashionTransferError, match="no unfinished run"):
        resume_arguments(["ckpt_path=last"])


@pytest.mark.parametrize("other", ["seed=4", "trainer.max_epochs=9", "-m", "+x=1", "~logger"])
def test_overrides_that_would_change_the_run_are_refused(stopped, other):
    stopped("runs/a", "seed=3")
    with pytest.raises(FashionTransferError, match="leave out") as caught:
        resume_arguments([other, "ckpt_path=last"])
    assert other in str(caught.value)


def test_the_runs_own_overrides_may_be_given_again(stopped):
    stopped("runs/a", "seed=3", "test=false")
    found = resume_arguments(["seed=3", "ckpt_path=last"])
    assert found.count("seed=3") == 1
    assert "test=false" in found


@pytest.mark.parametrize("given", ["paths.logs=elsewhere", "paths.logs='elsewhere'"])
def test_runs_are_looked_for_where_paths_logs_says(stopped, given):
    stopped("runs/a")
    folder = stopped("runs/b", "seed=3", "paths.logs=elsewhere", logs="elsewhere")
    found = resume_arguments(["ckpt_path=last", given])
    assert value_of("hydra.run.dir", found) == str(folder)
    assert value_of("paths.logs", found) == "elsewhere"


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
        (["-m"], [], ["-m"]),
        (["--help"], [], ["--help"]),
        (["--cfg", "job", "a.jpg"], ["a.jpg"], ["--cfg", "job"]),
        (["-c", "job", "--resolve"], [], ["-c", "job", "--resolve"]),
        (["a.jpg", "--config-name", "other"], ["a.jpg"], ["--config-name", "other"]),
        (["--config-name=other", "a.jpg"], ["a.jpg"], ["--config-name=other"]),
        (["-cd", "folder", "-cn", "x"], [], ["-cd", "folder", "-cn", "x"]),
        (["--config-path", "folder", "b"], ["b"], ["--config-path", "folder"]),
        (["--package", "model"], [], ["--package", "model"]),
    ],
)
def test_paths_and_what_hydra_shall_see_are_told_apart(
    tmp_path, monkeypatch, arguments, paths, rest
):
    monkeypatch.chdir(tmp_path)
    assert split_arguments(arguments) == (paths, rest)


@pytest.mark.parametrize("name", ["a=b.png", "-x.png", "+a=1", "ckpt_path=x", "~y", "-m"])
def test_a_file_that_is_there_is_a_path_whatever_its_name(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path(name).touch()
    assert split_arguments([name, f"./{name}"]) == ([name, f"./{name}"], [])


def test_a_folder_that_is_there_is_a_path(tmp_path):
    assert split_arguments([str(tmp_path)]) == ([str(tmp_path)], [])


def test_the_value_of_an_option_is_no_path_even_if_there_is_such_a_folder(tmp_path):
    assert split_arguments(["--config-dir", str(tmp_path), str(tmp_path)]) == (
        [str(tmp_path)],
        ["--config-dir", str(tmp_path)],
    )


def test_a_deletion_goes_to_hydra(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert split_arguments(["~policy.threshold"]) == ([], ["~policy.threshold"])
