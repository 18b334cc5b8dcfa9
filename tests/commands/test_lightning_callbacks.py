"""What users of Lightning add to `callbacks` and `trainer`: it works, and what it says is heard."""

import pytest
import torch
from outcomes import only_run, read_metrics

TARGET = "_target_=lightning.pytorch.callbacks"
ENDLESS = "trainer.max_epochs=-1 model/scheduler=none"
FINDER = f"+callbacks.finder.{TARGET}.LearningRateFinder"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ("+trainer.profiler=simple", "FIT Profiler Report"),
        (f"+callbacks.summary.{TARGET}.ModelSummary", "Trainable params"),
        ("trainer.enable_model_summary=true", "Trainable params"),
        ("+callbacks.best.verbose=true", "'val/loss' reached"),
        ("callbacks=early_stopping callbacks.rate=null", "Metric val/loss improved"),
        (f"{ENDLESS} +trainer.max_time=00:00:00:01", "Time limit reached"),
        (f"{ENDLESS} +trainer.max_time={{seconds:1}}", "Time limit reached"),
    ],
)
def test_what_the_user_asked_lightning_to_say_is_heard_once(
    run, tiny, plain, tmp_path, overrides, said
):
    arguments = tiny(tmp_path, *plain, "trainer.max_epochs=1", "test=false", *overrides.split())
    ended = run("train.py", *arguments)
    assert (ended.out + ended.err).count(said) == 1, ended
    for noise in ("GPU available", "`Trainer.fit` stopped", "Tip"):
        assert noise not in ended.out + ended.err


@pytest.mark.parametrize("schedule", ["one_cycle", "none"])
def test_learning_rate_finder_sets_the_rate_that_it_finds(run, tiny, tmp_path, schedule):
    found = (FINDER, "+callbacks.finder.min_lr=1e-4", "+callbacks.finder.num_training_steps=20")
    more = ("trainer.max_epochs=3", "test=false", "logger=csv", f"model/scheduler={schedule}")
    more = (*more, "trainer.log_every_n_steps=1")
    ended = run("train.py", *tiny(tmp_path, *found, *more)).succeeded()
    [line] = [line for line in ended.out.splitlines() if "LearningRateFinder" in line]
    rate = float(line.split("learning rate ")[1].split(",")[0])
    assert rate != pytest.approx(0.0002)  # as configured
    rows = next(only_run(tmp_path).rglob("metrics.csv")).read_text().splitlines()
    column = next(i for i, name in enumerate(rows[0].split(",")) if name.startswith("lr-"))
    rates = [float(row.split(",")[column]) for row in rows[1:] if row.split(",")[column]]
    assert 0.9 * rate < max(rates) < 1.001 * rate
    assert (min(rates) < 0.1 * rate) == (schedule == "one_cycle")
    assert "val/loss" in read_metrics(only_run(tmp_path))


def test_learning_rate_finder_with_more_rates_than_steps_is_a_mistake(run, tiny, plain, tmp_path):
    ended = run("train.py", *tiny(tmp_path, *plain, FINDER))
    assert ended.status == 1
    message = ended.err.splitlines()[-1]  # after Lightning's bar
    assert message.startswith("error: a LearningRateFinder tries 100 rates, and there are only 14")


def test_callback_takes_a_node_of_values(run, tiny, plain, tmp_path):
    name = f"+callbacks.sum.{TARGET}.GradientAccumulationScheduler"
    arguments = tiny(tmp_path, *plain, "test=false", name, "+callbacks.sum.scheduling={1:2}")
    run("train.py", *arguments).succeeded()
    [last] = tmp_path.rglob("last.ckpt")
    # Of 7 batches, each is a step in the first epoch, and two are one in the second.
    assert torch.load(last, weights_only=True)["global_step"] == 7 + 4


def test_mixed_precision_trains(train, tmp_path):
    ended = train(tmp_path / "logs", "+trainer.precision=bf16-mixed", "test=false")
    assert "val/loss" in ended.metrics


def test_value_that_lightning_refuses_later_is_one_line(run, tiny, plain, tmp_path):
    arguments = tiny(tmp_path, *plain, "+trainer.val_check_interval=30")
    message = run("train.py", *arguments).mistake()
    assert "`val_check_interval` (30) must be less than or equal to the number" in message
