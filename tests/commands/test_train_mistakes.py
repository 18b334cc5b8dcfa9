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
        ("data.images_per_class=11", "data.images_per_class is 11, "),
        ("model.head.name=no_such_head", "model.head.name must be one of linear, mlp, got"),
        ("model.backbone.name=vgg16", "model.backbone.name must be one of resnet101"),
        ("model.backbone.pool=[layer9]", "model.backbone.pool takes layer1"),
        ("model.backbone.weights=nowhere/at_all.pth", "nowhere/at_all.pth: no such file"),
        ("model.backbone.weights=IMAGENET1K_V9", "model.backbone.weights of resnet18 must be"),
        ("ckpt_path=nowhere/last.ckpt", "nowhere/last.ckpt: no such file"),
        ("-m kinds=0,1", "kinds is now images_per_set"),
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
    assert message.startswith("data has no _target_: choose another file of conf/data")


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
