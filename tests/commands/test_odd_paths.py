"""Every command with folders and files of names that people have, and no grammar takes."""

import shutil
from pathlib import Path

import pytest
from PIL import Image

ODD = (
    "it's (josé) 100% #1, [x] {y} a=b c:d ~",
    "caf\udce9\nnew line\N{PARTY POPPER}\\",
    "jose\u0301 'a' \"b\" $c",
)


@pytest.fixture(params=ODD, ids=["grammar", "bytes", "quotes"])
def odd(request, tmp_path) -> Path:
    folder = tmp_path / request.param
    try:
        folder.mkdir()
    except (OSError, UnicodeError):
        pytest.skip("no folder name here")
    return folder


@pytest.mark.slow
def test_every_command_takes_folders_and_files_of_any_name(run, tiny, odd, idx_dir, tmp_path):
    data = shutil.copytree(idx_dir, odd / "data")
    logs, cache = odd / "logs", f"paths.cache={odd / 'cache'}"
    given = tiny(logs, "trainer.max_epochs=1", "model/scheduler=none", f"data.dir={data}", cache)
    if "\udce9" in str(logs):
        assert "is no UTF-8: give the file or folder" in run("train.py", *given).mistake()
        given.append("logger=csv")  # TensorBoard alone cannot write there
    run("train.py", *given).succeeded()
    [metrics] = logs.glob("train/runs/*/metrics.json")
    checkpoints = metrics.parent / "checkpoints"
    assert "command" in run("runs.py", "show", "last", "--logs", str(logs)).succeeded().out
    last = f"ckpt_path={checkpoints / 'last.ckpt'}"
    again = f"hydra.run.dir={odd / 'again'}"
    run("train.py", *given, last, again, "trainer.max_epochs=2").succeeded()
    assert (odd / "again" / "metrics.json").is_file()

    best = checkpoints.parent / "best (1).ckpt"
    (checkpoints / "best.ckpt").rename(best)
    checkpoint, where = f"ckpt_path={best}", f"paths.logs={logs}"
    of_data = [f"data.dir={data}", "data.check_md5=false", "images_per_set=4"]
    evaluation = ["evaluate.py", checkpoint, where, cache, *of_data]
    if "\udce9" in str(logs):
        assert "is no UTF-8: give the file or folder" in run(*evaluation).mistake()
        evaluation.append(f"hydra.run.dir={tmp_path / 'evaluation'}")
    run(*evaluation).succeeded()
    picture = odd / "a,b.png"
    Image.new("L", (28, 28), 99).save(picture)
    for named in (str(picture), f"input={picture}"):
        run("predict.py", named, checkpoint, where).succeeded()
    assert len(list(logs.glob("predict/runs/*/predictions.csv"))) == 2
    assert not list(tmp_path.glob("~*"))


@pytest.mark.slow
def test_a_sweep_of_paths_runs_and_is_continued_in_a_folder_of_any_name(
    run, tiny, plain, odd, imagenet_weights
):
    files = [odd / name for name in ("a (1).pth", "b=2.pth")]
    for file in files:
        shutil.copy(imagenet_weights, file)
    both = f"model.backbone.weights='{files[0].name}',\"{files[1].name}\""
    given = ["-m", *tiny(odd / "logs", *plain, "trainer.max_epochs=1"), both]
    run("train.py", *given, cwd=odd).succeeded()
    [table] = odd.glob("logs/train/multiruns/*/sweep.csv")
    assert all(file.name in table.read_text() for file in files)
    assert "2 finished, 0 continued" in run("train.py", *given, "sweep.resume=true", cwd=odd).out


@pytest.mark.parametrize("written", ["~/logs", "'~/logs'", '"~/logs"'])
def test_no_folder_is_named_tilde(run, tiny, plain, tmp_path, monkeypatch, written):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("FASHION_TRANSFER_CACHE", "~/cache")
    given = [*tiny(tmp_path, *plain, "trainer.max_epochs=1"), f"paths.logs={written}"]
    run("train.py", *given, "paths.cache=null", cwd=tmp_path).succeeded()
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert {path.name for path in (tmp_path / "home").iterdir()} == {"logs", "cache"}
