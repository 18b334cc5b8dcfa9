from functools import partial

import pytest
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    LinearLR,
    OneCycleLR,
    ReduceLROnPlateau,
)

from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.models.optimization import (
    build_optimizer,
    check_states,
    hyperparameters,
    set_hyperparameters,
)

RATE = partial(torch.optim.AdamW, lr=0.1)


@pytest.fixture
def fit(make_task, make_trainer, feature_loader, tmp_path):
    """`fit(max_epochs=2, ckpt_path=None, **task)`: the trainer after epochs of five steps."""

    def run(max_epochs=2, max_steps=-1, ckpt_path=None, **options):
        task = make_task(**({"standardise": False} | options))
        trainer = make_trainer(tmp_path, max_epochs=max_epochs, max_steps=max_steps)
        trainer.fit(task, feature_loader(), ckpt_path=ckpt_path, weights_only=True)
        return trainer

    return run


# ---- what a checkpoint was trained with

OPTIMIZERS = {
    "adamw": RATE,
    "adam": partial(torch.optim.Adam, lr=0.1),
    "sgd": partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    "lbfgs": partial(torch.optim.LBFGS, lr=0.1),
}
SCHEDULES = {
    "one_cycle": partial(OneCycleLR, max_lr=0.1, total_steps=9),
    "cosine": partial(CosineAnnealingLR, T_max=9),
    "plateau": ReduceLROnPlateau,
    "none": lambda optimizer: None,
}


def trained(optimizer: str, schedule: str):
    """An optimizer, a schedule, and what Lightning writes of them into a checkpoint."""
    built = OPTIMIZERS[optimizer](torch.nn.Linear(3, 2).parameters())
    plan = SCHEDULES[schedule](built)
    plans = [] if plan is None else [plan.state_dict()]
    return built, plan, {"optimizer_states": [built.state_dict()], "lr_schedulers": plans}


@pytest.mark.parametrize("now", OPTIMIZERS)
@pytest.mark.parametrize("before", OPTIMIZERS)
def test_checkpoint_of_another_optimizer_is_refused(before, now):
    states, (optimizer, schedule, _) = trained(before, "none")[2], trained(now, "none")
    if before == now:
        check_states(states, optimizer, schedule)
        return
    with pytest.raises(FashionTransferError, match="another optimizer than .*: continue with the"):
        check_states(states, optimizer, schedule)


@pytest.mark.parametrize("now", SCHEDULES)
@pytest.mark.parametrize("before", SCHEDULES)
def test_checkpoint_of_another_schedule_is_refused(before, now):
    states, (optimizer, schedule, _) = trained("adamw", before)[2], trained("adamw", now)
    if before == now or "none" in (before, now):
        check_states(states, optimizer, schedule)
        return
    with pytest.raises(FashionTransferError, match="another schedule than .*without a scheduler"):
        check_states(states, optimizer, schedule)


# ---- the optimizer


def test_optimizer_has_the_parameters_of_the_head_alone():
    head = torch.nn.Linear(3, 2)
    [group] = build_optimizer(RATE, head).param_groups
    assert {id(p) for p in group["params"]} == {id(p) for p in head.parameters()}


@pytest.mark.parametrize(("stage_lr", "expected"), [(None, 0.01), (0.03, 0.03), (0, 0)])
def test_a_stage_has_a_tenth_of_the_heads_rate_unless_it_has_its_own(stage_lr, expected):
    head, stage = torch.nn.Linear(3, 2), torch.nn.Linear(4, 3)
    optimizer = build_optimizer(partial(RATE, weight_decay=0.5), head, stage, stage_lr)
    of_head, of_stage = optimizer.param_groups
    assert {id(p) for p in of_stage["params"]} == {id(p) for p in stage.parameters()}
    assert (of_head["lr"], of_stage["lr"]) == (0.1, pytest.approx(expected))
    assert (of_head["weight_decay"], of_stage["weight_decay"]) == (0.5, 0)


def test_an_optimizer_without_weight_decay_is_given_none():
    optimizer = build_optimizer(
        partial(torch.optim.Rprop, lr=0.1), torch.nn.Linear(3, 2), torch.nn.Linear(4, 3)
    )
    assert len(optimizer.param_groups) == 2
    assert "weight_decay" not in optimizer.param_groups[1]


@pytest.mark.parametrize(
    "make", [partial(torch.optim.AdamW, rate=1), partial(torch.optim.AdamW, lr=-1)]
)
def test_build_optimizer_rejects_impossible_arguments(make):
    with pytest.raises(ArgumentError, match=r"^optimizer cannot be built: .+") as caught:
        build_optimizer(make, torch.nn.Linear(3, 2))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD])
def test_a_step_on_the_cpu_is_one_kernel_and_the_same_step(kind):
    make, results = partial(kind, lr=0.1, weight_decay=0.1), []
    for build in (lambda head: build_optimizer(make, head), lambda head: make(head.parameters())):
        torch.manual_seed(0)
        head = torch.nn.Linear(3, 2)
        optimizer = build(head)
        for _ in range(3):
            optimizer.zero_grad()
            head(torch.ones(4, 3)).square().sum().backward()
            optimizer.step()
        results.append((optimizer.defaults["fused"], head.weight.detach()))
    (fused, weight), (alone, expected) = results
    assert (fused, alone) == (True, None)
    torch.testing.assert_close(weight, expected)


@pytest.mark.parametrize("given", ["fused", "foreach", "differentiable"])
def test_another_way_of_taking_a_step_may_be_given(given):
    optimizer = build_optimizer(partial(RATE, **{given: False}), torch.nn.Linear(3, 2))
    assert optimizer.defaults[given] is False
    assert not optimizer.defaults["fused"]


def test_a_checkpoint_of_separate_kernels_is_continued_with_them():
    head = torch.nn.Linear(3, 2)
    head(torch.ones(4, 3)).sum().backward()
    earlier = RATE(head.parameters())
    earlier.step()
    optimizer = build_optimizer(RATE, head)
    check_states({"optimizer_states": [earlier.state_dict()]}, optimizer, None)
    optimizer.load_state_dict(earlier.state_dict())
    optimizer.step()
    assert optimizer.param_groups[0]["fused"] is None


def test_hyperparameters_are_restored_as_they_were():
    optimizer = build_optimizer(RATE, torch.nn.Linear(3, 2), torch.nn.Linear(4, 3))
    before = hyperparameters(optimizer)
    assert all("params" not in group for group in before)
    for group in optimizer.param_groups:
        group |= {"lr": 7.0, "betas": (0.1, 0.2)}
    set_hyperparameters(optimizer, before)
    assert hyperparameters(optimizer) == before
    assert len(optimizer.param_groups[0]["params"]) == 2


# ---- L-BFGS

LBFGS = partial(torch.optim.LBFGS, line_search_fn="strong_wolfe")


def test_lbfgs_comes_to_a_minimum_in_few_steps(make_task, make_trainer, make_features, tmp_path):
    # All images in one batch, whose minimum it looks for in each of the two epochs.
    batch = make_features(torch.arange(80) % 10)
    losses = {}
    for name, make in (("lbfgs", LBFGS), ("adamw", partial(RATE, lr=0.001))):
        task = make_task(standardise=False, optimizer=make)
        trainer = make_trainer(tmp_path, max_epochs=2)
        trainer.fit(task, torch.utils.data.DataLoader([batch], batch_size=None))
        logits = task.classifier.head(batch.features)
        losses[name] = torch.nn.functional.cross_entropy(logits, batch.labels).item()
    assert losses["lbfgs"] < 0.01 < losses["adamw"]


def test_lbfgs_refuses_mixup(fit):
    # Each of its iterations would minimise another function.
    with pytest.raises(ArgumentError, match=r"^mixup must be 0 with LBFGS, got 1.0"):
        fit(optimizer=LBFGS, mixup=1.0)


def test_lbfgs_refuses_a_stage():
    # It would silently train the head alone.
    with pytest.raises(ArgumentError, match=r"^optimizer cannot be built: LBFGS has no second"):
        build_optimizer(LBFGS, torch.nn.Linear(3, 2), torch.nn.Linear(4, 3))


# ---- the schedule


@pytest.mark.parametrize(("every", "validations"), [(1, 4), (2, 2)])
def test_a_plateau_is_looked_for_after_each_validation(
    make_task, make_trainer, feature_loader, tmp_path, every, validations
):
    # Nothing gets better by so much, so each validation lowers the rate.
    scheduler = partial(ReduceLROnPlateau, factor=0.5, patience=0, threshold=1e9)
    task = make_task(standardise=False, optimizer=RATE, scheduler=scheduler)
    trainer = make_trainer(tmp_path, max_epochs=4, check_val_every_n_epoch=every)
    trainer.fit(task, feature_loader(), feature_loader(40, seed=1))
    [config] = trainer.lr_scheduler_configs
    assert (config.interval, config.monitor) == ("epoch", "val/loss")
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.1 * 0.5**validations)


def test_a_plateau_of_a_metric_that_is_not_measured_is_rejected(fit):
    with pytest.raises(MisconfigurationException, match="val/loss"):
        fit(optimizer=RATE, scheduler=ReduceLROnPlateau)


def test_without_a_scheduler_the_rate_is_constant(fit):
    [optimizer] = fit(optimizer=partial(torch.optim.SGD, lr=0.05)).optimizers
    assert isinstance(optimizer, torch.optim.SGD)
    assert optimizer.param_groups[0]["lr"] == 0.05


def test_schedule_ends_with_training(fit):
    given = []

    def scheduler(optimizer, total_steps):
        given.append(total_steps)
        return LinearLR(optimizer, start_factor=1.0, end_factor=0.5, total_iters=total_steps)

    trainer = fit(3, optimizer=partial(torch.optim.SGD, lr=1.0), scheduler=scheduler)
    assert given == [3 * 5]  # 80 images in batches of 16
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.5)


@pytest.mark.parametrize(("given", "expected"), [({}, 15), ({"T_max": 4}, 4)])
def test_cosine_gets_the_number_of_steps_unless_it_has_one(fit, given, expected):
    [config] = fit(3, scheduler=partial(CosineAnnealingLR, **given)).lr_scheduler_configs
    assert isinstance(config.scheduler, CosineAnnealingLR)
    assert config.scheduler.T_max == expected
    assert config.scheduler.last_epoch == 3 * 5


def test_run_of_one_step_has_a_rate_that_trains(fit):
    rates = []

    def scheduler(optimizer, total_steps, max_lr):
        schedule = OneCycleLR(optimizer, max_lr=max_lr, total_steps=total_steps)
        rates.extend(schedule.get_last_lr())
        return schedule

    fit(max_epochs=-1, max_steps=1, optimizer=RATE, scheduler=scheduler)
    assert rates[0] > 0.05


@pytest.mark.parametrize(
    ("given", "steps", "peak"), [({}, 10, 0.1), ({"total_steps": 12, "max_lr": 0.3}, 12, 0.3)]
)
def test_one_cycle_gets_steps_and_peak_unless_it_has_them(fit, given, steps, peak):
    trainer = fit(optimizer=RATE, scheduler=partial(OneCycleLR, **given))
    [config] = trainer.lr_scheduler_configs
    assert config.scheduler.total_steps == steps
    assert trainer.optimizers[0].param_groups[0]["max_lr"] == peak


def test_one_cycle_peaks_at_the_rates_of_head_and_stage(
    make_task, make_trainer, unfrozen, datamodule, tmp_path
):
    task = make_task(backbone=unfrozen, optimizer=RATE, scheduler=OneCycleLR, standardise=False)
    trainer = make_trainer(tmp_path, max_epochs=1)
    trainer.fit(task, datamodule=datamodule(images_per_class=2))
    peaks = [group["max_lr"] for group in trainer.optimizers[0].param_groups]
    assert peaks == pytest.approx([0.1, 0.01])


def test_a_schedule_that_takes_no_length_gets_none(fit):
    trainer = fit(
        max_epochs=-1,  # nor does it need the end of training
        max_steps=6,
        optimizer=partial(torch.optim.SGD, lr=1.0),
        scheduler=partial(ConstantLR, factor=0.5, total_iters=7),
    )
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.5


def test_a_schedule_with_a_length_needs_an_end_of_training(fit):
    with pytest.raises(ArgumentError, match="scheduler needs to know where training ends") as error:
        fit(max_epochs=-1, scheduler=OneCycleLR)
    assert "give max_epochs" in str(error.value)


def test_number_of_epochs_must_be_a_whole_number(fit):
    with pytest.raises(ArgumentError, match=r"max_epochs must be a whole number, got 'ten'"):
        fit(max_epochs="ten", scheduler=OneCycleLR)


@pytest.mark.parametrize(
    ("scheduler", "given"),
    [
        (partial(CosineAnnealingLR, warmth=2), " with T_max"),
        (partial(OneCycleLR, pct_start=2), " with total_steps, max_lr"),
        (partial(ConstantLR, factor=-1), ""),
    ],
)
def test_schedule_rejects_impossible_arguments(fit, scheduler, given):
    with pytest.raises(ArgumentError, match=rf"^scheduler cannot be built{given}: ") as caught:
        fit(scheduler=scheduler)
    assert "\n" not in str(caught.value)


# ---- resuming


@pytest.fixture
def stopped_at(fit, tmp_path):
    """`stopped_at(scheduler)`: the checkpoint of a run of two epochs of five steps."""

    def run(scheduler):
        fit(optimizer=RATE, scheduler=scheduler).save_checkpoint(tmp_path / "last.ckpt")
        return tmp_path / "last.ckpt"

    return run


@pytest.mark.parametrize("scheduler", [partial(OneCycleLR, max_lr=0.1), CosineAnnealingLR])
def test_resuming_beyond_the_end_of_the_schedule_is_rejected(fit, stopped_at, scheduler):
    path = stopped_at(scheduler)
    with pytest.raises(FashionTransferError, match="built for 10 steps and this run takes 20"):
        fit(4, optimizer=RATE, scheduler=scheduler, ckpt_path=path)


def test_a_cosine_of_a_chosen_period_may_be_resumed(fit, stopped_at):
    scheduler = partial(CosineAnnealingLR, T_max=3)
    path = stopped_at(scheduler)
    assert fit(3, optimizer=RATE, scheduler=scheduler, ckpt_path=path).global_step == 15


def test_resuming_without_a_schedule_is_at_the_rate_that_is_set(fit, stopped_at):
    path = stopped_at(partial(OneCycleLR, max_lr=0.1))
    [group] = torch.load(path, weights_only=True)["optimizer_states"][0]["param_groups"]
    assert group["lr"] < 0.01  # where the schedule ended
    trainer = fit(4, optimizer=RATE, ckpt_path=path)
    assert trainer.global_step == 20
    [group] = trainer.optimizers[0].param_groups
    assert group["lr"] == 0.1
    assert tuple(group["betas"]) == (0.9, 0.999)


def test_schedule_that_rises_for_one_step_is_rejected_with_what_to_do(fit):
    # Five steps an epoch: torch divides by the steps of the rise less one.
    with pytest.raises(ArgumentError, match="total_steps 5, .*give another pct_start"):
        fit(max_epochs=1, scheduler=partial(OneCycleLR, pct_start=0.2))
