import csv
import dataclasses
import io
import json
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fashion_transfer.commands import predict as command
from fashion_transfer.confidence import REASONS
from fashion_transfer.data.fashion_mnist import CLASS_NAMES
from fashion_transfer.features.package import PackageCache
from fashion_transfer.models import Classifier, load_classifier
from fashion_transfer.runs.record import read_record, write_record

THRESHOLD = "policy.threshold must be a number from 0 to 1, or auto, or from_checkpoint, got "

HEADER = ["path", "label", "confidence", "warning", "reason", "message", "prepared", "error"]

# Names that Hydra's grammar, a shell's habits or a table's commas might stumble over.
NAMES = ("IMG (1).jpg", "a,b.jpg", "Müller.jpg", "it's.jpg", "a=b.png", "-x.png", "x[1].png")


def draw(path: Path, seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """A folder of images, each another, with a folder and a text file in it; do not change it."""
    folder = tmp_path_factory.mktemp("photos")
    for seed, name in enumerate(NAMES):
        draw(folder / name, seed)
    (folder / "deeper").mkdir()
    draw(folder / "deeper" / "one.JPG", len(NAMES))
    (folder / "notes.txt").write_text("no image, and not one by its name")
    return folder


@pytest.fixture(scope="module")
def settings(trained):
    """`settings(logs)`: arguments of a prediction with a trained run's checkpoint."""

    def arguments(logs: Path) -> list[str]:
        return [
            f"ckpt_path={trained.best}",
            f"paths.logs={logs}",
            "device=cpu",
            "model.backbone.precision=float32",
        ]

    return arguments


@pytest.fixture
def predict(run, settings, tmp_path):
    """`predict(*arguments, cwd=None)`: runs predict.py with a trained run's checkpoint."""

    def start(*arguments: str | Path, cwd: Path | None = None):
        return run("predict.py", *settings(tmp_path / "logs"), *arguments, cwd=cwd)

    return start


def only_run(logs: Path) -> Path:
    [run_folder] = (logs / "predict" / "runs").iterdir()
    return run_folder


@pytest.fixture
def folder(tmp_path):
    """`folder()`: the run folder of the one prediction so far."""
    return lambda: only_run(tmp_path / "logs")


@pytest.fixture(scope="module")
def labelled(run, settings, photos, tmp_path_factory):
    """A prediction of the whole folder of images: what it printed, and its run folder."""
    logs = tmp_path_factory.mktemp("labelled")
    ended = run("predict.py", *settings(logs), photos, "policy.threshold=0.5").succeeded()
    return ended, only_run(logs)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(newline="", encoding="utf-8") as file:
        header, *body = csv.reader(file)
    assert header == HEADER
    return [dict(zip(HEADER, row, strict=True)) for row in body]


def objects(folder: Path) -> list[dict]:
    return json.loads((folder / "predictions.json").read_text(encoding="utf-8"))


# ---- predictions


def test_folder_stands_for_every_image_below_it(labelled, photos):
    listed = sorted(Path(row["path"]).relative_to(photos).as_posix() for row in rows(labelled[1]))
    assert listed == sorted([*NAMES, "deeper/one.JPG"])


def test_each_image_has_a_row_with_the_classifiers_prediction(labelled, trained):
    predicted = rows(labelled[1])
    classifier = load_classifier(trained.best, threshold=0.5, precision="float32")
    for row in predicted:
        [expected] = classifier.predict(row["path"])
        assert row["label"] == expected.label
        assert float(row["confidence"]) == pytest.approx(expected.confidence, abs=1e-4)
        assert row["warning"] == str(expected.warning).lower()
        assert row["error"] == ""


def test_gallery_is_a_png(labelled):
    with Image.open(labelled[1] / "gallery.png") as image:
        image.verify()
        assert image.format == "PNG"


def test_json_file_has_the_rows_and_all_probabilities(labelled):
    predicted = rows(labelled[1])
    for row, described in zip(predicted, objects(labelled[1]), strict=True):
        probabilities = described.pop("probabilities")
        assert list(described) == HEADER
        assert (described["path"], described["label"]) == (row["path"], row["label"])
        assert described["warning"] is (row["warning"] == "true")
        assert described["confidence"] == pytest.approx(float(row["confidence"]))
        assert list(probabilities) == [*CLASS_NAMES, "several items"]
        assert probabilities[row["label"]] == described["confidence"]
        assert sum(probabilities.values()) == pytest.approx(1, abs=1e-4)


def test_command_names_its_files_and_the_checkpoint_with_its_classes(labelled, trained):
    ended, folder = labelled
    out = "".join(ended.out.split())
    names = ("predictions.csv", "predictions.json", "gallery.png", str(folder))
    assert all(name in out for name in names)
    [line] = [line for line in ended.out.splitlines() if str(trained.best) in line]
    assert line.endswith(f"{trained.best}, 10 classes: {', '.join(CLASS_NAMES)}")


def test_any_file_name_is_accepted(predict, folder, photos):
    names = [*NAMES, *(f"./{name}" for name in NAMES)]
    predict(*names, cwd=photos).succeeded()
    predicted = rows(folder())
    assert [Path(row["path"]).name for row in predicted] == [*NAMES, *NAMES]
    assert all(row["label"] in CLASS_NAMES and not row["error"] for row in predicted)


def test_file_name_that_looks_like_markup_is_printed_as_it_is(predict, folder, tmp_path):
    names = ["[bold].png", "a[/red].png"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        draw(tmp_path / name)
    out = predict(*names, cwd=tmp_path).succeeded().out
    assert [row["path"] for row in rows(folder())] == names
    assert all(name in out for name in names)


def test_input_takes_files_and_folders(predict, folder, photos):
    predict(f"input=[{photos / '-x.png'},{photos / 'deeper'}]").succeeded()
    assert [Path(row["path"]).name for row in rows(folder())] == ["-x.png", "one.JPG"]


def test_input_is_added_to_plain_paths(predict, folder, photos):
    predict("-x.png", f"input={photos / 'deeper' / 'one.JPG'}", cwd=photos).succeeded()
    assert [Path(row["path"]).name for row in rows(folder())] == ["-x.png", "one.JPG"]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["*b.jpg", "deeper/**"], ["a,b.jpg", "one.JPG"]),
        (["input=*b.jpg"], ["a,b.jpg"]),
        (["--", "-x.png", "a=b.png"], ["-x.png", "a=b.png"]),
    ],
    ids=["patterns", "pattern as input", "after --"],
)
def test_arguments_stand_for_images(predict, folder, photos, arguments, names):
    predict(*arguments, cwd=photos).succeeded()
    assert [Path(row["path"]).name for row in rows(folder())] == names


def test_dash_takes_paths_from_standard_input(predict, folder, photos, monkeypatch):
    listed = "".join(f"{name}\n" for name in NAMES).encode()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(listed)))
    predict("a,b.jpg", "-", cwd=photos).succeeded()
    assert [row["path"] for row in rows(folder())] == ["a,b.jpg", *NAMES]


def test_empty_standard_input_is_a_mistake(predict, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    assert "no path on standard input" in predict("-").mistake()


def test_pattern_that_matches_nothing_is_a_mistake(predict, photos):
    assert "*.tif matches no image file" in predict("*.tif", cwd=photos).mistake()


def test_batch_size_changes_no_prediction(predict, folder, photos, labelled):
    predict(photos, "batch_size=3", "policy.threshold=0.5").succeeded()
    for one, other in zip(rows(folder()), rows(labelled[1]), strict=True):
        assert (one["path"], one["label"]) == (other["path"], other["label"])
        assert float(one["confidence"]) == pytest.approx(float(other["confidence"]), abs=1e-4)


# ---- warnings


def test_threshold_0_never_warns(predict, folder, photos):
    predict(photos / "deeper", photos / "-x.png", "policy.threshold=0").succeeded()
    assert {row["warning"] for row in rows(folder())} == {"false"}
    assert all(row["reason"] == row["message"] == "" for row in rows(folder()))


def test_threshold_1_warns_with_reason_and_message(predict, folder, photos, trained):
    predict(photos / "deeper", photos / "-x.png", "policy.threshold=1").succeeded()
    classifier = load_classifier(trained.best, threshold=1, precision="float32")
    for row in rows(folder()):
        [expected] = classifier.predict(row["path"])
        assert row["warning"] == "true"
        assert row["reason"] == expected.reason
        assert row["reason"] in REASONS
        assert row["message"] == expected.message
        assert "multiple items" in row["message"]


def test_threshold_is_the_checkpoints_by_default(predict, folder, photos, trained, tmp_path):
    content = torch.load(trained.best, weights_only=True)
    content["classifier"]["threshold"] = 0.0
    torch.save(content, tmp_path / "silent.ckpt")
    predict(photos / "-x.png", f"ckpt_path={tmp_path / 'silent.ckpt'}").succeeded()
    assert [row["warning"] for row in rows(folder())] == ["false"]


# ---- files that cannot be read


def test_unreadable_file_has_a_row_with_its_error_alone(predict, folder, tmp_path):
    first = draw(tmp_path / "first.png")
    draw(tmp_path / "last.png", 1)
    bad = {
        "cut.png": first.read_bytes()[:500],
        "broken.png": b"\x89PNG\r\n\x1a\n but not for long",
        "text.jpg": b"no image",
        "empty.png": b"",
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    names = ["first.png", *bad, "missing.jpg", "last.png"]
    message = predict(*names, "batch_size=2", cwd=tmp_path).mistake()
    assert message.startswith("5 of 7 files could not be read, such as cut.png: ")
    assert str(folder() / "predictions.csv") in message
    predicted = rows(folder())
    assert [bool(row["error"]) for row in objects(folder())] == [False, *[True] * 5, False]
    assert [row["path"] for row in predicted] == names
    assert all(
        row["label"] in CLASS_NAMES and not row["error"] for row in (predicted[0], predicted[-1])
    )
    for row in predicted[1:-1]:
        assert row["error"], row["path"]
        columns = ("label", "confidence", "warning", "reason", "message", "prepared")
        assert {row[column] for column in columns} == {""}, row["path"]


def test_no_readable_file_is_a_mistake_after_the_rows_are_written(predict, folder, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    message = predict(tmp_path / "a.png", tmp_path / "missing.png").mistake()
    assert message.startswith("2 of 2 files could not be read")
    assert all(row["error"] for row in rows(folder()))
    assert (folder() / "gallery.png").is_file()


@pytest.mark.skipif(os.name == "nt", reason="file names there are text")
def test_file_name_that_is_not_utf_8_is_written(predict, folder, tmp_path):
    name = os.fsdecode(b"caf\xe9.png")
    try:
        shutil.copy(draw(tmp_path / "plain.png"), tmp_path / name)
    except OSError:
        pytest.skip("this file system takes UTF-8 only")
    predict("plain.png", name, cwd=tmp_path).succeeded()
    assert b"plain.png" in (folder() / "predictions.csv").read_bytes()


# ---- many files


def test_prediction_goes_on_reading_while_it_predicts(predict, folder, photos, monkeypatch):
    readers = set()
    read_image = command.read_image
    monkeypatch.setattr(
        command,
        "read_image",
        lambda path: readers.add(threading.current_thread()) or read_image(path),
    )
    predict(photos, "batch_size=2").succeeded()
    assert len(rows(folder())) == len(NAMES) + 1
    assert len(readers - {threading.main_thread()}) == 1


def test_large_pictures_make_smaller_batches(predict, folder, photos, monkeypatch):
    sizes = []
    predict_prepared = Classifier.predict_prepared

    def spy(self, images):
        sizes.append(len(images))
        return predict_prepared(self, images)

    monkeypatch.setattr(Classifier, "predict_prepared", spy)
    monkeypatch.setattr(command, "BATCH_BYTES", 1)
    predict(photos).succeeded()
    assert sizes == [1] * (len(NAMES) + 1)


def test_gallery_shows_the_first_images(predict, folder, photos, monkeypatch):
    monkeypatch.setattr(command, "MAX_IMAGES", 2)
    ended = predict(photos).succeeded()
    assert f"first 2 of {len(NAMES) + 1} images" in ended.out
    assert len(rows(folder())) == len(NAMES) + 1


@pytest.mark.parametrize(
    ("minimum", "override", "compiled"),
    [(8, "auto", "auto"), (9, "auto", False), (9, "true", True), (8, "false", False)],
)
def test_backbone_is_compiled_if_the_number_of_files_pays_for_it(
    predict, photos, monkeypatch, minimum, override, compiled
):
    given = []
    load = command.load

    def spy(cfg, path, **backbone):
        given.append(backbone["compile"])
        return load(cfg, path, compile=False)

    monkeypatch.setattr(command, "load", spy)
    monkeypatch.setattr(command, "MIN_COMPILED_FILES", minimum)
    assert len(NAMES) + 1 == 8
    predict(photos, f"model.backbone.compile={override}").succeeded()
    assert given == [compiled]


def test_few_files_go_through_a_package_for_one_if_it_is_cached(predict, photos, monkeypatch):
    wanted = []
    monkeypatch.setattr(PackageCache, "open", lambda self, *given: wanted.append(given))
    predict(photos, "model.backbone.compile=false").succeeded()
    assert wanted == []
    predict(photos).succeeded()
    ((precision, shape),) = wanted
    assert (precision, shape[0]) == ("float32", 1)


def test_prediction_goes_on_where_compiling_fails(predict, folder, photos, monkeypatch):
    def failing(self, images):
        raise RuntimeError("no compiler")

    monkeypatch.setattr("fashion_transfer.features.engine.Engine._forward_compiled", failing)
    ended = predict(photos / "deeper", "model.backbone.compile=true").succeeded()
    assert "torch.compile failed (no compiler)" in ended.out
    assert len(rows(folder())) == 1


# ---- the checkpoint


def test_checkpoint_and_logs_take_any_file_name(run, trained, photos, tmp_path):
    given = tmp_path / "it's mine (1), Müller's"
    given.mkdir()
    shutil.copy(trained.best, given / "a=b [1].ckpt")
    settings = (f"ckpt_path={given / 'a=b [1].ckpt'}", f"paths.logs={given}", "device=cpu")
    run("predict.py", photos / "-x.png", *settings).succeeded()
    assert len(rows(only_run(given))) == 1


def test_newest_finished_run_is_the_default_and_is_named(run, photos, trained, tmp_path):
    logs = tmp_path / "logs"
    for age, name in enumerate(("newest", "middle", "oldest")):
        to = logs / "train" / "runs" / name
        shutil.copytree(trained.folder, to)
        os.utime(to / "metrics.json", (1e9 - age, 1e9 - age))
    debug = shutil.copytree(trained.folder, logs / "train" / "runs" / "debug")
    record = read_record(debug)
    write_record(dataclasses.replace(record, choices={**record.choices, "debug": "tiny"}))
    unfinished = shutil.copytree(trained.folder, logs / "train" / "runs" / "unfinished")
    (unfinished / "metrics.json").unlink()
    ended = run("predict.py", photos / "-x.png", f"paths.logs={logs}", "device=cpu").succeeded()
    assert str(logs / "train/runs/newest/checkpoints/best.ckpt") in ended.out


def test_prediction_without_a_run_is_a_mistake_that_names_train(run, photos, tmp_path):
    assert "train.py" in run("predict.py", photos, f"paths.logs={tmp_path}").mistake()


# ---- mistakes


def test_no_image_is_a_mistake(predict):
    assert "no image given" in predict().mistake()


def test_folder_without_images_is_a_mistake(predict, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds no image" in predict(tmp_path / "empty").mistake()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("policy.threshold=1.5", THRESHOLD + "1.5"),
        ("policy.threshold=high", THRESHOLD + "'high'"),
        ("batch_size=0", "batch_size must be a whole number from 1, got 0"),
        ("ckpt_path=nowhere.ckpt", "nowhere.ckpt: no such file"),
        ("model.backbone.weights=nowhere.pth", "{best} was trained on the weights nowhere.pth"),
        ("device=abacus", "device must be auto, cpu, cuda or mps, got 'abacus'"),
        ("trainer.accelerator=cpu", "trainer.accelerator is now device"),
        ("policy.auto.warned=0.1", "policy.auto.warned is now policy.threshold_target.warned"),
    ],
)
def test_mistake_is_one_line_with_its_key(run, trained, photos, tmp_path, override, message):
    settings = [f"paths.logs={tmp_path}", "device=cpu", f"ckpt_path={trained.best}"]
    mistake = run("predict.py", photos / "-x.png", *settings, override).mistake()
    assert mistake.startswith(message.format(best=trained.best))
    assert "train again" not in mistake  # the checkpoint is not what is wrong


def test_misspelt_key_is_a_mistake_that_names_it(run, photos, tmp_path):
    ended = run("predict.py", photos / "-x.png", f"paths.logs={tmp_path}", "policy.treshold=0.5")
    assert "treshold" in ended.mistake()


def test_option_with_a_value_is_passed_to_hydra(run, photos):
    ended = run("predict.py", "--config-name", "no_such_config", photos / "-x.png")
    assert "no_such_config" in ended.mistake()


def test_printing_the_configuration_predicts_nothing(run, photos, tmp_path):
    ended = run("predict.py", "--cfg", "job", photos / "-x.png", f"paths.logs={tmp_path}")
    assert "threshold: from_checkpoint" in ended.succeeded().out
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_prints_one_line(predict, photos, monkeypatch):
    def interrupting(self, batch):
        raise KeyboardInterrupt

    monkeypatch.setattr(Classifier, "outputs", interrupting)
    ended = predict(photos)
    assert ended.status == 130
    [line] = ended.err.splitlines()
    assert line.startswith("interrupted")


@pytest.mark.slow
def test_prediction_does_not_wait_for_the_imports_of_training(process):
    heavy = ("lightning", "torchmetrics", "sklearn", "scipy.optimize", "matplotlib")
    code = f"import sys, fashion_transfer.commands.predict; print(set({heavy}) & set(sys.modules))"
    assert process(code).stdout.strip() == "set()"
