"""Wrong configurations: each is one line before anything is computed, and none is silent."""

import pytest
from outcomes import only_run

WRONG = {
    # ---- a key that does not exist, also where a + adds it
    "misspelt key": ("data.image_per_class=5", "did you mean data.images_per_class?"),
    "key of another node": ("lr=0.1", "there is no key lr: did you mean model.optimizer.lr?"),
    "part of a key": ("+epochs=20", "there is no key epochs: did you mean trainer.max_epochs?"),
    "added misspelt key": (
        "+model.mixupp=1",
        "there is no key model.mixupp: did you mean model.mixup?",
    ),
    "added top-level key": ("+batchsize=4", "there is no key batchsize: did you mean data.batch_"),
    "added nonsense": ("+policy.x=1", "there is no key policy.x: use one of policy.threshold"),
    "nested nonsense": (
        "+policy.threshold_target.x=1",
        "no key policy.threshold_target.x",
    ),
    "key of an older version": ("data.composites=0", "is now data.synthetic.composites"),
    "key that only a + adds": ("trainer.gradient_clip_val=1", "(a + in front of it gives an arg"),
    # ---- an argument that the target does not take
    "argument of the data set": (
        "+data.image_per_class=5",
        "data.image_per_class is no argument of FashionMNISTDataModule: did you mean "
        "data.images_per_class?",
    ),
    "argument of the augmentation": (
        "+data.augmentation.zooom=0.1",
        "data.augmentation.zooom is no argument of Augmentation: did you mean "
        "data.augmentation.zoom?",
    ),
    "argument of the composites": ("+data.synthetic.composits=1", "mean data.synthetic.composites"),
    "argument of the backbone": ("+model.backbone.pools=[a]", "did you mean model.backbone.pool?"),
    "argument of the optimizer": (
        "+model.optimizer.weight_decy=0",
        "model.optimizer.weight_decy is no argument of AdamW: did you mean "
        "model.optimizer.weight_decay?",
    ),
    "argument of another optimizer": ("+model.optimizer.momentum=0.9", "is no argument of AdamW"),
    "argument of the schedule": ("+model.scheduler.pct=0.3", "is no argument of OneCycleLR"),
    "argument of the trainer": ("+trainer.max_epoch=3", "did you mean trainer.max_epochs?"),
    "argument of a callback": ("+callbacks.best.monitr=x", "did you mean callbacks.best.monitor?"),
    "argument of a logger": (
        "logger=csv +logger.csv.nme=x",
        "logger.csv.nme is no argument of CSVLogger: did you mean logger.csv.name?",
    ),
    "argument that a logger would pass on": (
        "logger=tensorboard +logger.tensorboard.x=1",
        "there is no key logger.tensorboard.x: use one of",
    ),
    "option of the head": ("+model.head.hiden=3", "is no argument of the head mlp: did you mean"),
    "what the trainer gets from elsewhere": (
        "+trainer.callbacks=[]",
        "trainer.callbacks is read by nothing: add it to the node callbacks",
    ),
    # ---- what Lightning takes and then does nothing with
    "no training batches": (
        "+trainer.limit_train_batches=0",
        "trainer.limit_train_batches must be a number above 0 to 1, or a whole number from 1",
    ),
    "validation after no batches": (
        "+trainer.val_check_interval=0",
        "trainer.val_check_interval must be a number above 0 to 1, or a whole number from 1",
    ),
    "validation after one and a half epochs": (
        "+trainer.val_check_interval=1.5",
        "trainer.val_check_interval must be a number above 0 to 1",
    ),
    "time limit in words": ("+trainer.max_time=1h", "trainer.max_time must be text as 00:01:30:00"),
    "time limit as a number": ("+trainer.max_time=60", "trainer.max_time must be text as 00:01:30"),
    "schedule without a last step": (
        "trainer.max_epochs=-1 +trainer.max_time=00:00:01:00",
        "trainer.max_epochs=-1 has no end",
    ),
    "metric that does not exist": (
        "callbacks=early_stopping callbacks.early_stopping.monitor=val/los",
        "callbacks.early_stopping.monitor must be one of val/loss, val/accuracy, val/macro_acc",
    ),
    "average after training": (
        "+callbacks.swa._target_=lightning.pytorch.callbacks.StochasticWeightAveraging "
        "+callbacks.swa.swa_lrs=0.01",
        "callbacks.swa averages weights, and best.ckpt holds those that were trained",
    ),
    "average in training": (
        "+callbacks.ema._target_=lightning.pytorch.callbacks.EMAWeightAveraging",
        "callbacks.ema averages weights",
    ),
    "second checkpoint by the same metric": (
        "+callbacks.mine._target_=lightning.pytorch.callbacks.ModelCheckpoint "
        "+callbacks.mine.monitor=val/loss +callbacks.mine.save_top_k=3",
        "callbacks.mine has monitor, mode and interval of callbacks.best: give another one, or",
    ),
    # ---- what Hydra would do
    "working folder": (
        "hydra.job.chdir=true",
        "hydra.job.chdir must be false, got true: paths are",
    ),
    # ---- an impossible value
    "negative rate": (
        "model.optimizer.lr=-1",
        "optimizer.lr must be a number from 0, got -1",
    ),
    "rate that is no number": ("model.optimizer.lr=nan", "model.optimizer.lr must be a number"),
    "infinite decay": ("model.optimizer.weight_decay=inf", "model.optimizer.weight_decay must be"),
    "no images": (
        "data.images_per_class=0",
        "data.images_per_class must be a whole number from 1, or all, got 0",
    ),
    "threshold in percent": (
        "policy.threshold=80",
        "policy.threshold must be a number from 0 to 1, or auto, got 80",
    ),
    "part of an image": (
        "data.batch_size=1.5",
        "data.batch_size must be a whole number from 1, got 1.5",
    ),
    "part of a pixel": (
        "data.image_size=64.5",
        "data.image_size must be a whole number from 32, got 64.5",
    ),
    "list for a number": (
        "data.batch_size=[32]",
        "data.batch_size must be a whole number from 1, got [32]",
    ),
    "text for a number": ("trainer.max_epochs=lots", "trainer.max_epochs must be a whole number"),
    "number in quotes": ("data.batch_size='\"32\"'", "data.batch_size must be a whole number"),
    "yes for true": ("store=yes", "store must be true or false, got 'yes'"),
    "number for true": ("test=1", "test must be true or false, got 1"),
    "null for a number": ("data.batch_size=null", "data.batch_size must be a whole number from 1"),
    "text for a list": ("model.backbone.pool=layer4", "model.backbone.pool must be a list such as"),
    "list that is too short": ("model.backbone.mean=[0.5]", "model.backbone.mean must be three"),
    "no epochs": (
        "trainer.max_epochs=0",
        "trainer.max_epochs must be a whole number from 1",
    ),
    "too many batches for a fraction": (
        "trainer.limit_val_batches=2.5",
        "trainer.limit_val_batches must be a number from 0 to 1, or a whole number from 0",
    ),
    "no device": ("trainer.devices=0", "trainer.devices must be a whole number from 1, a list"),
    "unknown device": (
        "trainer.accelerator=abacus",
        "trainer.accelerator must be one of auto",
    ),
    "way to clip": (
        "+trainer.gradient_clip_algorithm=sum",
        "trainer.gradient_clip_algorithm must be one of norm, value, or null",
    ),
    "probability over 1": (
        "model.head.dropout=7",
        "head.dropout must be a number from 0 to 1",
    ),
    "zoom to nothing": (
        "data.augmentation.zoom=1",
        "augmentation.zoom must be a number from 0",
    ),
    "negative composites": ("data.synthetic.composites=-1", "data.synthetic.composites must be a"),
    "word that is none of several": (
        "data.selection=last",
        "data.selection must be one of first, random, got 'last'",
    ),
    "tiny input": ("data.image_size=16", "data.image_size must be a whole number from 32, got 16"),
    "seed that is no number": ("seed=lucky", "seed must be a whole number from 0 to 4294967295"),
    "metric that is not measured": ("monitor.metric=val/beauty", "monitor.metric must be one of"),
    "metric of the test images": ("monitor.metric=test/accuracy", "monitor.metric must be one of"),
    "value for a node": ("data.synthetic=5", "data.synthetic must be a node of keys, or null"),
    "value for an entry": ("callbacks.rate=5", "callbacks.rate must be a node of keys, or null"),
    "value that the optimizer rejects": (
        "+model.optimizer.betas=[0.9,0.99,0.5]",
        "model.optimizer.betas must be two numbers from 0 to under 1",
    ),
    "value that the schedule rejects": (
        "+model.scheduler.anneal_strategy=square",
        "model.scheduler cannot be built with total_steps, max_lr: anneal_strategy must be one of",
    ),
    # ---- a choice of files
    "unknown file": ("model/head=deep", "there is no model/head=deep: use one of linear, mlp"),
    "dot for a slash": (
        "model.head=linear",
        "model.head=linear is no value but a file of conf/model/head: write model/head=linear",
    ),
    "no head": (
        "model/head=null",
        "there is no model.head: choose one by model/head=linear, model/head=mlp",
    ),
    "no head, deleted": ("~model/head", "there is no model.head: choose one by model/head=linear"),
    "no optimizer, as a group": (
        "model/optimizer=null",
        "there is no model/optimizer: choose one by model/optimizer=adam, model/opt",
    ),
    "no data set": (
        "data=null",
        "there is no data: choose one by data=clothing, data=fashion_mnist",
    ),
    "no data set, deleted": (
        "~data",
        "there is no data: choose one by data=clothing, data=fashion_mnist",
    ),
    "no monitored metric, deleted": ("~monitor.metric", "monitor.metric has no value: give one"),
    "no trainer, deleted": ("~trainer", "there is no trainer: choose one by trainer="),
    "no backbone": ("model/backbone=null", "there is no model.backbone: choose one by model/back"),
    "no model": ("model=null", "there is no model: choose one by model=default"),
    "no policy": ("policy=null", "there is no policy: choose one by policy="),
    "no paths": ("paths=null", "there is no paths: choose one by paths=default"),
    "no optimizer": ("model.optimizer=null", "there is no model.optimizer: choose one by"),
    "no trainer": ("trainer=null", "there is no trainer: choose one by trainer="),
    "deleted key": ("~model.mixup", "model.mixup is missing: give it a value, a number from 0"),
    "optimizer without its own arguments": (
        "model.optimizer._target_=torch.optim.Adam",
        "model.optimizer._target_=torch.optim.Adam would keep the arguments of "
        "model/optimizer=adamw: use model/optimizer=adam",
    ),
    "optimizer without a file": (
        "model.optimizer._target_=torch.optim.NAdam",
        "use model/optimizer=NAME with a file conf/model/optimizer/NAME.yaml",
    ),
    "schedule without its own arguments": (
        "model.scheduler._target_=torch.optim.lr_scheduler.CosineAnnealingLR",
        "use model/scheduler=cosine",
    ),
    "target that does not exist": (
        "callbacks.rate._target_=lightning.pytorch.callbacks.NoSuch",
        "callbacks.rate._target_=lightning.pytorch.callbacks.NoSuch cannot be imported: Are you "
        "sure that 'NoSuch' is importable",
    ),
    "entry without a target": ("+callbacks.mine.x=1", "callbacks.mine has no _target_"),
    # ---- two keys that do not go together
    "lbfgs with mixup": (
        "model/optimizer=lbfgs",
        "model/optimizer=lbfgs does not go with model.mixup=0.4",
    ),
    "lbfgs with dropout": (
        "model/optimizer=lbfgs model.mixup=0 model.head.dropout=0.5",
        "model/optimizer=lbfgs does not go with model.head.dropout=0.5",
    ),
    "lbfgs with a trainable stage": (
        "experiment=finetune model/optimizer=lbfgs model.mixup=0",
        "model/optimizer=lbfgs does not go with model.backbone.unfreeze=layer4",
    ),
    "lbfgs with one cycle": (
        "model/optimizer=lbfgs model.mixup=0 model/scheduler=one_cycle",
        "model/optimizer=lbfgs does not go with model/scheduler=one_cycle",
    ),
    "schedule without an end": (
        "trainer.max_epochs=-1",
        "trainer.max_epochs=-1 has no end, and model.scheduler needs to know where training ends",
    ),
    "plateau without validation": (
        "model/scheduler=plateau data.val_per_class=0",
        "model/scheduler=plateau watches the metric of the validation, and there is none with "
        "data.val_per_class=0",
    ),
    "early stopping without a metric": (
        "callbacks=early_stopping monitor.metric=null",
        "callbacks.early_stopping watches the metric of the validation, and there is none with "
        "monitor.metric=null",
    ),
    "metric in the wrong direction": (
        "monitor.metric=val/accuracy",
        "monitor.mode must be max for val/accuracy, got min",
    ),
    "nesterov without momentum": (
        "model/optimizer=sgd model.optimizer.momentum=0",
        "model.optimizer cannot be built: Nesterov momentum requires a momentum",
    ),
    # ---- what Lightning would do, and a run cannot
    "precision of all parameters": (
        "+trainer.precision=bf16-true",
        "trainer.precision=bf16-true would round what is not in the backbone, as the statistics "
        "that standardise features: use trainer.precision=bf16-mixed",
    ),
    "half precision of all parameters": (
        "+trainer.precision=16-true",
        "use trainer.precision=bf16-mixed",
    ),
    "unknown precision of the backbone": (
        "model.backbone.precision=int4",
        "model.backbone.precision must be one of auto, float32, bfloat16, float16, int8, got",
    ),
    "unknown engine": (
        "model.backbone.engine=onnx",
        "model.backbone.engine must be one of auto, torch, openvino, got 'onnx'",
    ),
    "misspelt engine": ("model.backbone.engin=torch", "did you mean model.backbone.engine?"),
    "int8 without its engine": (
        "model.backbone.precision=int8 model.backbone.engine=torch",
        "model.backbone.precision=int8 needs another model.backbone.engine: leave that at auto",
    ),
    "float16 by OpenVINO": (
        "model.backbone.precision=float16 model.backbone.engine=openvino",
        "model.backbone.precision=float16 needs another model.backbone.engine: leave that at auto",
    ),
    "int8 compiled by torch": (
        "model.backbone.precision=int8 model.backbone.compile=true",
        "model.backbone.compile=true is of torch alone: leave it at auto",
    ),
    "unknown precision": ("+trainer.precision=low", "trainer.precision must be one of 32-true, bf"),
    "search for a batch size": (
        "+callbacks.size._target_=lightning.pytorch.callbacks.BatchSizeFinder",
        "callbacks.size looks for the largest batch that fits into memory, and cached features "
        "always fit: leave it out, and give data.batch_size=N",
    ),
    "training of the backbone": (
        "+callbacks.tune._target_=lightning.pytorch.callbacks.BackboneFinetuning",
        "callbacks.tune trains a backbone that stays frozen here: leave it out, and give",
    ),
    "pruning": (
        "+callbacks.prune._target_=lightning.pytorch.callbacks.ModelPruning",
        "callbacks.prune would prune the frozen backbone",
    ),
    "metric of another name": (
        "callbacks=early_stopping callbacks.early_stopping.monitor=val_loss",
        "callbacks.early_stopping.monitor must be one of val/loss, val/accuracy",
    ),
    "speed alone": ("+trainer.barebones=true", "trainer.barebones=true leaves no checkpoint"),
    "no checkpoints": (
        "+trainer.enable_checkpointing=false",
        "trainer.enable_checkpointing=false",
    ),
    "best checkpoint between validations": (
        "+callbacks.best.every_n_train_steps=5",
        "callbacks.best.every_n_train_steps=5 is not possible, as a validation chooses the best "
        "checkpoint: leave it out, or add another callback",
    ),
    "time for a number of checkpoints": (
        "+callbacks.best.train_time_interval=5",
        "callbacks.best.train_time_interval must be a node with _target_=datetime.timedelta",
    ),
    "two last checkpoints": (
        "+callbacks.best.save_last=true",
        "callbacks.best.save_last=true is not possible",
    ),
    "last checkpoint of another name": (
        "callbacks.last.filename=end",
        "callbacks.last.filename='end' is not possible, as ckpt_path=last continues from last.ckpt",
    ),
    "several last checkpoints": (
        "+callbacks.last.save_top_k=-1",
        "callbacks.last.save_top_k=-1 is not possible",
    ),
    "metric with a slash in a file name": (
        "callbacks.best.filename={epoch}-{val/loss:.2f}",
        "callbacks.best.filename={epoch}-{val/loss:.2f} would make a folder, by the / in the "
        "metric's name: add +callbacks.best.auto_insert_metric_name=false",
    ),
    # ---- an override that is none
    "no value": ("learning_rate", "learning_rate is no key=value"),
    "reference to nothing": ("data.dir=${nowhere}", "nowhere"),
}


@pytest.fixture
def nothing_is_built(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("something was built")

    monkeypatch.setattr("fashion_transfer.commands.build.instantiate", refuse)
    monkeypatch.setattr("fashion_transfer.commands.trainer.instantiate", refuse)


@pytest.mark.parametrize(("overrides", "message"), WRONG.values(), ids=WRONG)
def test_wrong_configuration_is_one_line(
    run, plain, tmp_path, nothing_is_built, overrides, message
):
    quiet = [] if "logger=" in overrides or "callbacks." in overrides else plain
    ended = run("train.py", f"paths.logs={tmp_path}", *quiet, *overrides.split(" "))
    assert message in ended.mistake()
    assert "HYDRA_FULL_ERROR" not in ended.err or "nowhere" in message
    assert list(tmp_path.rglob("metrics.json")) == []
    assert list(tmp_path.rglob("*.ckpt")) == []


def test_run_with_a_wrong_configuration_is_recorded_as_failed(run, plain, tmp_path):
    run("train.py", f"paths.logs={tmp_path}", *plain, "data.batch_size=1.5").mistake()
    record = (only_run(tmp_path) / "run.json").read_text()
    assert '"failed"' in record
    assert "data.batch_size must be" in record


@pytest.mark.parametrize("command", ["evaluate", "predict", "app", "export"])
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("policy.threshold=80", "policy.threshold must be a number from 0 to 1, or auto, or from_"),
        ("+policy.x=1", "there is no key policy.x"),
        ("+model.head.hidden=3", "there is no key model.head"),
        ("ckpt_path=true", "ckpt_path must be a path, or null, got true"),
    ],
)
def test_other_commands_check_their_configuration(run, tmp_path, command, override, message):
    ended = run(f"{command}.py", f"paths.logs={tmp_path}", override)
    assert message in ended.mistake()
