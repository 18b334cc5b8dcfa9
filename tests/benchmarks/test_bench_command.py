"""`make bench`: which groups are measured, how jobs are timed, which engines alternate."""

import json
from contextlib import nullcontext

import pytest

from fashion_transfer.benchmarks import bench, engines, jobs
from fashion_transfer.benchmarks.engines import in_turn
from fashion_transfer.benchmarks.jobs import JobTimer
from fashion_transfer.benchmarks.rows import bench_row
from fashion_transfer.errors import FashionTransferError

pytestmark = pytest.mark.slow


@pytest.fixture
def timer(idx_dir, tmp_path):
    overrides = {
        "model.backbone.name": "resnet18",
        "model.backbone.weights": "null",
        "model.backbone.precision": "float32",
        "data.dir": idx_dir,
        "data.check_md5": "false",
        "data.images_per_class": 8,
        "data.val_per_class": 4,
        "data.image_size": 32,
        "data.synthetic": "null",
        "trainer.max_epochs": 1,
        "trainer.accelerator": "cpu",
    }
    return JobTimer(tmp_path / "bench", [f"{key}={value}" for key, value in overrides.items()])


def test_job_is_timed_as_a_whole_process_on_a_store_of_its_own(timer):
    seconds, memory, (metrics,) = timer.train("default")
    # Importing torch alone takes longer and more than this.
    assert seconds > 0.5
    assert 0.1 < memory < 24
    assert 0 <= metrics["test/accuracy"] <= 1
    assert list((timer.scratch / "default" / "features").glob("*/layer3@2.npy"))
    assert not (timer.scratch / "logs").exists()


def test_failing_job_is_named_with_its_error(timer):
    with pytest.raises(FashionTransferError, match="no_such_key=1 .*failed: .*no_such_key"):
        timer.train("default", "no_such_key=1")


def test_speedup_of_the_default_job_is_over_the_plain_loop(timer, monkeypatch):
    seconds = iter([700.0, 8.0, 7.0, 6.0])
    monkeypatch.setattr(timer, "train", lambda *_: (next(seconds), 1.5, [{}]))
    rows = {row["name"]: row for row in timer.default_rows(plain_rate=10.0)}
    assert rows["plain_loop"]["value"] == jobs.PASSES_OF_PLAIN_LOOP / 10
    assert rows["cold"]["speedup"] == pytest.approx(10.0)
    assert rows["warm"]["value"] == 7.0
    assert rows["warm"]["speedup"] == pytest.approx(1000.0)


def test_growth_adds_up_the_steps_less_what_each_repeats(timer, monkeypatch):
    seconds = iter([50.0, 10.0, 40.0, 11.0, 90.0, 20.0, 130.0, 50.0])
    monkeypatch.setattr(timer, "train", lambda *_: (next(seconds), 1.0, [{}]))
    rows = {row["name"]: row["value"] for row in timer.growth_rows()}
    assert rows["growth_100_cold"] == 50.0
    assert rows["growth_500_cold"] == 50.0 + 40.0 - 10.0
    assert rows["growth_5900_warm"] == 50.0


def test_calls_alternate_after_warming_up():
    calls = []
    runs = {name: lambda name=name: calls.append(name) for name in "ab"}
    seconds = in_turn(runs, repeats=3)
    assert calls == [*"aabb", *"ababab"]
    assert set(seconds) == {"a", "b"}


def test_groups_that_were_asked_for_are_measured(monkeypatch, tmp_path):
    monkeypatch.setattr(
        bench, "backbone_rows", lambda *_: [bench_row("backbone_plain", "plain", 10.0, "images/s")]
    )
    trained = []

    def train(self, store, *arguments):
        trained.append((store, *arguments))
        return 5.0, 1.0, [{"test/accuracy": 0.9}]

    monkeypatch.setattr(JobTimer, "train", train)
    output = tmp_path / "bench.json"
    bench.main(["--only", "job", "fast", "--output", str(output)])
    names = [row["name"] for row in json.loads(output.read_text())["rows"]]
    assert {"backbone_plain", "cold", "warm", "fast"} <= set(names)
    assert "sweep" not in names
    assert ("fast", "experiment=fast") in trained


def test_sweep_alone_fills_its_store_first(monkeypatch, tmp_path):
    trained = []

    def train(self, store, *arguments):
        trained.append(arguments)
        return 5.0, 1.0, [{}]

    monkeypatch.setattr(JobTimer, "train", train)
    bench.main(["--only", "sweep", "--output", str(tmp_path / "bench.json")])
    assert [bool(arguments) for arguments in trained] == [False, True]


def test_evaluation_needs_another_revision(tmp_path):
    with pytest.raises(SystemExit, match="error: .*--base"):
        bench.main(["--only", "evaluate", "--output", str(tmp_path / "bench.json")])


def test_predict_is_compared_with_the_first_version_unless_another_is_named(monkeypatch, tmp_path):
    compared = []

    def predict_rows(base, head, *_):
        compared.append((base, head))
        return [bench_row("predict_400px", "predict", 90.0, "images/s", ratio=0.9)]

    monkeypatch.setattr(bench, "checkout", nullcontext)
    monkeypatch.setattr(bench, "predict_rows", predict_rows)
    output = tmp_path / "bench.json"
    for arguments in ([], ["--base", "other"]):
        bench.main(["--only", "predict", *arguments, "--output", str(output)])
    assert compared == [("v0.1.0", bench.WORKING_TREE), ("other", bench.WORKING_TREE)]
    assert json.loads(output.read_text())["rows"][0]["ratio"] == 0.9


def test_engine_of_a_library_that_is_not_installed_is_left_out(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "openvino", None)
    assert engines._openvino(None, None, "float32") is None
    assert "no OpenVINO row" in capsys.readouterr().err
