"""What someone uses from a notebook: three lines, and no wait for what is not needed."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

CLASSES = 10


@pytest.fixture(scope="module")
def checkpoint(backbone, idx_dir, tmp_path_factory):
    """A checkpoint of a small classifier that was trained for one epoch."""
    import lightning as L

    from fashion_transfer.data import FashionMNISTDataModule
    from fashion_transfer.models import ClassificationTask, Classifier

    folder = tmp_path_factory.mktemp("run")
    datamodule = FashionMNISTDataModule(
        str(idx_dir), images_per_class=4, val_per_class=4, image_size=32, check_md5=False
    )
    classifier = Classifier(backbone, datamodule.class_names, image_size=32)
    trainer = L.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        devices=1,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(ClassificationTask(classifier), datamodule=datamodule)
    trainer.save_checkpoint(folder / "best.ckpt", weights_only=True)
    return folder / "best.ckpt"


@pytest.fixture
def grey() -> np.ndarray:
    """One grey image of noise, (28, 28)."""
    return np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)


def test_three_lines_predict_files(checkpoint, grey, tmp_path):
    Image.fromarray(grey).save(tmp_path / "photo.png")

    import fashion_transfer

    classifier = fashion_transfer.load(checkpoint, precision="float32")
    [prediction] = classifier.predict([tmp_path / "photo.png"])

    assert prediction.label in classifier.class_names
    assert 0 < prediction.confidence <= 1
    assert len(prediction.top) == 3
    assert prediction.top[0] == (prediction.label, prediction.confidence)
    assert prediction.warning == bool(prediction.message)


def test_load_takes_a_path_as_text_and_options(checkpoint, grey):
    import fashion_transfer

    classifier = fashion_transfer.load(str(checkpoint), threshold=1.0, precision="float32")
    [prediction] = classifier.predict(grey)
    assert prediction.warning


def test_every_form_of_an_image_gives_the_same_prediction(checkpoint, grey, tmp_path):
    import fashion_transfer

    colour = np.repeat(grey[..., None], 3, axis=2)
    picture = Image.fromarray(grey)
    for name in ("item.png", "item.bmp", "item.tiff"):
        picture.save(tmp_path / name)
    forms = {
        "path": tmp_path / "item.png",
        "text": str(tmp_path / "item.bmp"),
        "tiff": tmp_path / "item.tiff",
        "grey picture": picture,
        "colour picture": picture.convert("RGB"),
        "opaque picture": picture.convert("RGBA"),
        "(h, w)": grey,
        "(1, h, w)": grey[None],
        "(h, w, 1)": grey[..., None],
        "(h, w, 3)": colour,
        "(3, h, w)": colour.transpose(2, 0, 1),
        "not contiguous": np.asfortranarray(grey),
    }
    classifier = fashion_transfer.load(checkpoint, precision="float32")
    expected = classifier.predict(grey)[0]
    for name, prediction in zip(forms, classifier.predict(list(forms.values())), strict=True):
        assert prediction.label == expected.label, name
        assert prediction.confidence == pytest.approx(expected.confidence, abs=1e-4), name
    for name, form in forms.items():
        [prediction] = classifier.predict(form)
        assert prediction.confidence == pytest.approx(expected.confidence, abs=1e-4), name


@pytest.mark.parametrize("axis", [None, 1, 3], ids=["(B, h, w, 3)", "(B, 1, h, w)", "(B, h, w, 1)"])
def test_an_array_of_many_images_gives_a_prediction_for_each(checkpoint, axis):
    import fashion_transfer

    shape = (20, 28, 28, 3) if axis is None else (20, 28, 28)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    images = images if axis is None else np.expand_dims(images, axis)
    classifier = fashion_transfer.load(checkpoint, precision="float32")
    predictions = classifier.predict(images)
    assert len(predictions) == 20
    alone = [classifier.predict(image)[0] for image in images]
    assert [p.label for p in predictions] == [p.label for p in alone]


def test_images_of_any_size_are_predicted_together(checkpoint):
    import fashion_transfer

    generator = np.random.default_rng(0)
    images = [
        generator.integers(0, 256, shape, dtype=np.uint8)
        for shape in ((28, 28), (3, 50, 20), (97, 64, 3), (1, 1), (300, 400))
    ]
    classifier = fashion_transfer.load(checkpoint, precision="float32")
    predictions = classifier.predict(images)
    assert len(predictions) == len(images)
    for prediction, image in zip(predictions, images, strict=True):
        [alone] = classifier.predict(image)
        assert prediction.label == alone.label
        assert prediction.confidence == pytest.approx(alone.confidence, abs=1e-4)


def test_load_names_a_file_that_is_not_there(tmp_path):
    import fashion_transfer
    from fashion_transfer.errors import FashionTransferError

    with pytest.raises(FashionTransferError, match=r"nowhere\.ckpt: no such file"):
        fashion_transfer.load(tmp_path / "nowhere.ckpt")


def test_importing_the_package_imports_neither_torch_nor_lightning():
    code = (
        "import sys, fashion_transfer; assert callable(fashion_transfer.load); "
        "print({'torch', 'torchvision', 'lightning', 'hydra', 'numpy'} & sys.modules.keys())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "set()", result.stderr
