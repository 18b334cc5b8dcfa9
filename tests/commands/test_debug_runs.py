"""The groups `debug`, `callbacks`, `model/optimizer` and `model/scheduler`, as a user runs them."""

import pytest
from outcomes import only_run, read_metrics


def test_fast_dev_run_ends_without_checkpoints(run, tiny, tmp_path):
    run("train.py", *tiny(tmp_path, "debug=fast_dev_run")).succeeded()
    folder = only_run(tmp_path)
    assert "test/accuracy" in read_metrics(folder)
    assert list(folder.rglob("*.ckpt")) == []


def test_profiler_leaves_its_reports_in_the_run_folder_and_says_where(run, tiny, plain, tmp_path):
    out = run("train.py", *tiny(tmp_path, *plain, "debug=profiler")).succeeded().out
    folder = only_run(tmp_path)
    for name in ("fit-profile.txt", "test-profile.txt"):
        assert "run_training_epoch" in (folder / name).read_text() or name != "fit-profile.txt"
        assert str(folder / name) in out


def test_anomaly_runs_as_any_other(run, tiny, plain, tmp_path):
    run("train.py", *tiny(tmp_path, *plain, "debug=anomaly", "test=false")).succeeded()
    assert "val/loss" in read_metrics(only_run(tmp_path))


def test_overfit_overrides_an_experiment(run, tiny, plain, tmp_path):
    few = ("debug=overfit", "data.image_size=32", "data.synthetic=null", "trainer.max_epochs=30")
    arguments = [a for a in tiny(tmp_path, *plain) if not a.startswith("data.synthetic.")]
    arguments = [a for a in arguments if not a.startswith("model.optimizer.lr")]
    out = run("train.py", *arguments, *few, "logger=csv").succeeded()
    rows = next(only_run(tmp_path).rglob("metrics.csv")).read_text().splitlines()
    column = rows[0].split(",").index("train/accuracy")
    last = [row.split(",")[column] for row in rows[1:] if row.split(",")[column]][-1]
    assert float(last) == 1.0, out.out


def test_early_stopping_ends_training_and_says_why(run, tiny, plain, tmp_path):
    # No rate, no progress: the first epoch is the best.
    more = ("callbacks=early_stopping", "model.optimizer.lr=0", "trainer.max_epochs=20")
    ended = run("train.py", *tiny(tmp_path, *plain, *more, "test=false")).succeeded()
    out = ended.out + ended.err
    assert " ".join(out.split()).count("did not improve in the last 3 records") == 1


@pytest.mark.parametrize(
    "overrides",
    [
        "model/optimizer=adam",
        "model/optimizer=sgd model/scheduler=cosine",
        "model/optimizer=lbfgs model.mixup=0 data.batch_size=200",
        "model/scheduler=plateau",
        "experiment=null debug=null",
        "model.scheduler=null",
        "model/scheduler=null",
    ],
)
def test_choice_of_optimizer_and_schedule_trains(run, tiny, plain, tmp_path, overrides):
    ended = run("train.py", *tiny(tmp_path, *plain, "test=false", *overrides.split()))
    assert ended.succeeded()
    assert "val/loss" in read_metrics(only_run(tmp_path))


@pytest.mark.parametrize(
    "overrides",
    [
        "logger=null",
        "~logger",
        "logger.csv=null logger.tensorboard=null",
        "callbacks=null logger=none",
        "~callbacks",
    ],
)
def test_without_a_group_a_run_is_as_with_none_of_its_entries(run, tiny, tmp_path, overrides):
    arguments = tiny(tmp_path, "test=false", "trainer.max_epochs=1", *overrides.split())
    run("train.py", *arguments).succeeded()
    assert "val/loss" in read_metrics(only_run(tmp_path))


@pytest.mark.parametrize("watching", ["model/scheduler=plateau", "callbacks=early_stopping"])
def test_what_watches_the_validation_needs_one(run, tiny, plain, tmp_path, watching):
    arguments = tiny(tmp_path, *plain, watching, "trainer.limit_val_batches=0")
    message = run("train.py", *arguments).mistake()
    assert "there is none with trainer.limit_val_batches=0" in message
