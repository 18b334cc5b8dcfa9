import pytest
from outcomes import only_run

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.models import ClassificationTask

# ---- multiruns


def test_failed_job_of_a_multirun_does_not_stop_the_others(run, tiny, plain, tmp_path):
    arguments = tiny(tmp_path, *plain, "trainer.max_epochs=1", "model.head.dropout=0,7,0.1")
    ended = run("train.py", "-m", *arguments)
    assert ended.status == 1
    assert "Traceback" not in ended.out + ended.err
    assert "job 1" in ended.out
    [line] = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert "dropout" in line
    [sweep] = (tmp_path / "train" / "multiruns").iterdir()
    finished = sorted(file.parent.name for file in sweep.glob("*/metrics.json"))
    assert finished == ["0", "2"]
    assert len((sweep / "sweep.csv").read_text().splitlines()) == 4


def test_multirun_writes_its_table_before_it_is_over(run, tiny, plain, tmp_path, monkeypatch):
    # A process killed in its second job would leave the last of these tables.
    tables, step = [], ClassificationTask.training_step

    def reading(self, batch, batch_idx):
        tables.append([file.read_text() for file in tmp_path.rglob("sweep.csv")])
        return step(self, batch, batch_idx)

    monkeypatch.setattr(ClassificationTask, "training_step", reading)
    arguments = tiny(tmp_path, *plain, "trainer.max_epochs=1", "seed=0,1")
    out = run("train.py", "-m", *arguments).succeeded().out
    assert tables[0] == []
    [table] = tables[-1]
    assert len(table.splitlines()) == 2
    assert table.startswith("job,overrides,val/loss,val/accuracy,test/accuracy,seconds/fit")
    [line] = [line for line in out.splitlines() if "all runs" in line]
    assert "±" in line
    assert sum("sweep.csv" in line for line in out.splitlines()) == 1


def test_multirun_sorts_its_table_by_the_monitored_metric(run, tiny, plain, tmp_path):
    monitor = ("monitor.metric=val/macro_accuracy", "monitor.mode=max", "test=false")
    arguments = tiny(tmp_path, *plain, *monitor, "model.optimizer.lr=0,0.001")
    run("train.py", "-m", *arguments).succeeded()
    [table] = tmp_path.rglob("sweep.csv")
    header, first, second = table.read_text().splitlines()
    assert header == "job,overrides,val/macro_accuracy,val/accuracy,test/accuracy,seconds/fit"
    assert first.startswith("1,model.optimizer.lr=0.001,")
    assert second.startswith("0,model.optimizer.lr=0,")


# ---- mistakes


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.augmentation.zoom=2", "data.augmentation.zoom must be under 1, got 2"),
        ("data.batch_size=0", "data.batch_size must be a whole number from 1, got 0"),
        ("data.batch_size=many", "data.batch_size must be a whole number from 1, got 'many'"),
        ("data.num_workers=-1", "data.num_workers must be a whole number from 0, got -1"),
        ("data.images_per_class=11", "data.images_per_class is 11, "),
        ("data.selection=last", "data.selection must "),
        ("data.synthetic.composites=-1", "data.synthetic.composites must be a whole number"),
        ("model.head.name=no_such_head", "model.head.name must be one of linear, mlp, got"),
        ("model.head.dropout=7", "model.head mlp cannot be built: dropout"),
        ("+model.head.width=7", "model.head mlp cannot be built: "),
        ("model.mixup=-1", "model.mixup must "),
        ("model.label_smoothing=1", "model.label_smoothing must "),
        ("model.class_weights=equal", "model.class_weights must be 'balanced'"),
        ("model.trainable_stage_lr=-1", "model.trainable_stage_lr must "),
        ("+model.no_such_entry=1", "model.no_such_entry is read by nothing: use one of backbone"),
        ("model.optimizer.lr=-1", "model.optimizer cannot be built: Invalid learning rate: -1"),
        ("+model.optimizer.no_such_option=1", "model.optimizer cannot be built: "),
        ("model.scheduler.pct_start=7", "model.scheduler cannot be built with total_steps"),
        ("model.backbone.name=vgg16", "model.backbone.name must be one of resnet101"),
        ("model.backbone.pool=[layer9]", "model.backbone.pool takes layer1"),
        ("model.backbone.precision=float8", "model.backbone.precision must be "),
        ("model.backbone.weights=nowhere/at_all.pth", "nowhere/at_all.pth: no such file"),
        ("model.backbone.weights=IMAGENET1K_V9", "model.backbone.weights of resnet18 must be"),
        ("policy.threshold=1.5", "policy.threshold must be a number from 0 to 1, got 1.5"),
        ("policy.threshold=high", "policy.threshold must be a number from 0 to 1, got 'high'"),
        ("+policy.no_such_entry=1", "policy.no_such_entry is read by nothing"),
        ("+policy.threshold_target.x=1", "policy.threshold_target.x is read by nothing"),
        (
            "policy.threshold=auto policy.threshold_target.warned=2",
            "policy.threshold_target.warned must be a number from 0 to 1, got 2",
        ),
        ("seed=lucky", "seed must be a whole number from 0 to 4294967295, got 'lucky'"),
        ("monitor.mode=best", "monitor.mode must be min or max, got 'best'"),
        ("monitor.metric=val/accuracy", "monitor.mode must be max for val/accuracy, got min"),
        ("monitor.metric=test/accuracy", "monitor.metric must not be of the test images"),
        ("trainer.max_epochs=-1", "model.scheduler needs to know where training ends"),
        ("ckpt_path=nowhere/last.ckpt", "nowhere/last.ckpt: no such file"),
        ("data.composites=0", "data.composites is now data.synthetic.composites"),
        ("-m kinds=0,1", "kinds is now images_per_set"),
        (
            "data.image_per_class=5",
            "there is no key data.image_per_class: did you mean data.images_per_class?",
        ),
        (
            "policy.limit=5",
            "there is no key policy.limit: use one of policy.threshold, policy.threshold_target",
        ),
        ("learning_rate", "learning_rate is no key=value"),
        ("data.image_size=16", "data.image_size must be a whole number from 32, got 16"),
        ("lr=0.1", "there is no key lr: did you mean model.optimizer.lr?"),
        ("model/head=deep", "there is no model/head=deep: use one of linear, mlp"),
    ],
)
def test_mistake_is_one_line_with_its_key(run, tiny, plain, tmp_path, override, message):
    arguments = [*plain, "trainer.max_epochs=1", *override.split(" ")]
    assert run("train.py", *tiny(tmp_path / "logs", *arguments)).mistake().startswith(message)


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("no_such_key=1", "no_such_key"),
        ("experiment=no_such_experiment", "no_such_experiment"),
        ("model.optimizer._target_=torch.optim.NoSuch", "NoSuch"),
        ("trainer.max_epochs=lots", "trainer.max_epochs"),
        ("trainer.accelerator=abacus", "abacus"),
        ("monitor.metric=val/beauty", "val/beauty"),
        ("resnet50", "resnet50"),
    ],
)
def test_mistake_that_a_library_reports_is_one_line(run, tiny, plain, tmp_path, override, named):
    arguments = tiny(tmp_path / "logs", *plain, "trainer.max_epochs=1", override)
    assert named in run("train.py", *arguments).mistake()


def test_weights_that_cannot_be_downloaded_name_the_keys_to_set(
    run, tiny, plain, tmp_path, monkeypatch
):
    def failing(url, *args, **kwargs):
        raise FashionTransferError(f"could not download {url} (no network)")

    monkeypatch.setattr("fashion_transfer.files.download", failing)
    weights = "model.backbone.weights=IMAGENET1K_V1"
    message = run("train.py", *tiny(tmp_path, *plain, weights)).mistake()
    assert "no network" in message
    assert message.endswith("(model.backbone.weights=PATH, or experiment=offline)")


def test_data_default_is_no_data_set(run, plain, tmp_path):
    message = run("train.py", *plain, "data=default", f"paths.logs={tmp_path}").mistake()
    assert message.startswith("data=default describes no data set")


@pytest.mark.parametrize("wrong", ["without its optimizer", "of another head"])
def test_checkpoint_that_cannot_be_continued_is_a_mistake(
    run, tiny, plain, trained, tmp_path, wrong
):
    path = trained.best if wrong == "without its optimizer" else trained.last
    other = ["model/head=linear"] if wrong == "of another head" else []
    ended = run("train.py", *tiny(tmp_path, *plain, *other, f"ckpt_path={path}"))
    assert ended.mistake()


def test_failed_run_has_no_metrics(run, tiny, plain, tmp_path):
    run("train.py", *tiny(tmp_path, *plain, "model.optimizer._target_=torch.no_such"))
    assert only_run(tmp_path)
    assert not list(tmp_path.rglob("metrics.json"))
