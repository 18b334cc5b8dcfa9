import pytest
from outcomes import only_run

from fashion_transfer.errors import FashionTransferError

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
        ("hydra=null", "Config group override must be a string or a list"),
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


@pytest.mark.parametrize("test", ["true", "false"])
def test_run_that_diverges_fails(run, tiny, plain, tmp_path, test):
    arguments = ("model.optimizer.lr=1e30", "model/scheduler=none", f"test={test}")
    ended = run("train.py", *tiny(tmp_path, *plain, *arguments))
    assert ended.mistake().startswith(
        "training has diverged, val/loss is nan at best: give a lower"
    )
    assert not (only_run(tmp_path) / "metrics.json").exists()


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
