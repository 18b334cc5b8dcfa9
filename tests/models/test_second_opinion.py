"""The second opinion: what it pools, whom it is asked about, and where there is none."""

import numpy as np
import pytest
import torch
import torchvision
from torchvision.models import ResNet50_Weights

from fashion_transfer.data.fashion_mnist import CLASS_NAMES
from fashion_transfer.data.preparation import AS_IT_IS, CUT_OUT, PLAIN_GROUND, Prepared
from fashion_transfer.models import load_classifier, read_checkpoint
from fashion_transfer.models.second_opinion import (
    FLOOR,
    IMAGE_SIZE,
    IMAGENET_CLASSES,
    SecondOpinion,
    has_second_opinion,
)

CATEGORIES = ResNet50_Weights.IMAGENET1K_V1.meta["categories"]


@pytest.fixture(scope="module")
def imagenet_file(tmp_path_factory):
    """`imagenet_file(classes)`: random weights of a ResNet18 with a classifier of so many."""

    def write(classes: int = 1000) -> str:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            network = torchvision.models.resnet18(num_classes=classes)
            torch.nn.init.normal_(network.fc.weight, std=0.3)  # or all were equally likely
        path = tmp_path_factory.mktemp("weights") / "imagenet.pth"
        torch.save(network.state_dict(), path)
        return str(path)

    return write


@pytest.fixture(scope="module")
def imagenet(make_backbone, imagenet_file):
    """A ResNet18 with a classifier of 1,000 classes, all of it random."""
    return make_backbone(weights=imagenet_file())


@pytest.fixture
def classifiers(make_classifier, imagenet):
    """`classifiers(**overrides)`: two equal classifiers, with and without a second opinion."""

    def make(**overrides):
        return [
            make_classifier(backbone=imagenet, second_opinion=wanted, **overrides).eval()
            for wanted in (True, False)
        ]

    return make


@pytest.fixture
def mixed() -> list[Prepared]:
    """Two images as they are, and between and after them two pictures of one's own."""
    generator = np.random.default_rng(0)

    def draw(*shape: int) -> np.ndarray:
        return generator.integers(0, 256, shape, dtype=np.uint8)

    return [
        Prepared(draw(1, 28, 28)),
        Prepared(draw(1, 28, 28), CUT_OUT, draw(3, 50, 50)),
        Prepared(draw(1, 40, 40)),
        Prepared(draw(1, 28, 28), PLAIN_GROUND, draw(3, 30, 30)),
    ]


def logits_of(*names: str) -> torch.Tensor:
    """Logits of ImageNet's classes, all but certain of one class per row."""
    logits = torch.zeros(len(names), len(CATEGORIES))
    for row, name in enumerate(names):
        logits[row, CATEGORIES.index(name)] = 30
    return logits


def draw_probabilities(columns: int, rows: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (2 * torch.randn(rows, columns, generator=generator)).softmax(dim=1)


# The table


def test_table_names_classes_of_fashion_mnist_and_of_imagenet():
    assert tuple(IMAGENET_CLASSES) == CLASS_NAMES
    names = [name for group in IMAGENET_CLASSES.values() for name in group]
    assert set(names) <= set(CATEGORIES)
    assert all(IMAGENET_CLASSES.values())
    assert len(set(names)) == len(names)


# Pooling


@pytest.mark.parametrize("columns", [10, 11])
def test_pooled_probabilities_are_the_geometric_mean_of_both(columns):
    probabilities = draw_probabilities(columns)
    logits = torch.randn(6, 1000, generator=torch.Generator().manual_seed(1)) * 3
    pooled = SecondOpinion(CLASS_NAMES)(probabilities, logits)
    assert pooled.shape == probabilities.shape
    likely = logits.softmax(dim=1)
    for row in range(6):
        weights = []
        for label, name in enumerate(CLASS_NAMES):
            group = sum(likely[row, CATEGORIES.index(n)].item() for n in IMAGENET_CLASSES[name])
            weights.append((probabilities[row, label].item() * (group + FLOOR)) ** 0.5)
        total = probabilities[row, :10].sum().item()
        expected = [weight / sum(weights) * total for weight in weights]
        assert pooled[row, :10].tolist() == pytest.approx(expected, rel=1e-4)


def test_probability_of_several_items_stays_and_all_sum_to_1():
    probabilities = draw_probabilities(11)
    pooled = SecondOpinion(CLASS_NAMES)(probabilities, logits_of("sandal", *["jean"] * 5))
    assert torch.equal(pooled[:, 10], probabilities[:, 10])
    assert pooled.sum(dim=1).tolist() == pytest.approx([1] * 6, abs=1e-5)
    assert (pooled >= 0).all()


def test_opinion_moves_probability_to_its_class():
    even = torch.full((3, 10), 0.1)
    pooled = SecondOpinion(CLASS_NAMES)(even, logits_of("sandal", "gown", "Loafer"))
    assert [CLASS_NAMES[i] for i in pooled.argmax(dim=1)] == ["Sandal", "Dress", "Sneaker"]


def test_opinion_on_none_of_the_classes_changes_nothing():
    probabilities = draw_probabilities(11)
    pooled = SecondOpinion(CLASS_NAMES)(probabilities, logits_of(*["goldfish"] * 6))
    # Half of each logarithm is left, so the most probable class stays the most probable one.
    assert torch.equal(pooled[:, :10].argmax(dim=1), probabilities[:, :10].argmax(dim=1))
    assert pooled[:, :10].sum(dim=1).tolist() == pytest.approx(
        probabilities[:, :10].sum(dim=1).tolist(), abs=1e-5
    )


def test_image_that_surely_shows_several_items_stays_one():
    certain = torch.zeros(1, 11)
    certain[0, 10] = 1
    assert torch.equal(SecondOpinion(CLASS_NAMES)(certain, logits_of("sandal")), certain)


# Whom it is asked about


@pytest.mark.parametrize("multi_item", [False, True])
def test_only_pictures_of_ones_own_are_asked_about(classifiers, mixed, multi_item):
    asked, alone = (c.predict_prepared(mixed) for c in classifiers(multi_item=multi_item))
    for image, one, other in zip(mixed, asked, alone, strict=True):
        assert one.prepared == other.prepared == image.treatment
        changed = one.probabilities != pytest.approx(other.probabilities, abs=1e-4)
        assert changed == (image.treatment != AS_IT_IS)
        assert sum(one.probabilities) == pytest.approx(1, abs=1e-4)
        assert one.probabilities[10:] == pytest.approx(other.probabilities[10:], abs=1e-6)


def test_opinion_is_on_the_items_in_colour(classifiers, mixed, imagenet):
    asked, alone = classifiers()
    logits = []
    for image in (mixed[1], mixed[3]):
        picture = torch.from_numpy(image.colour)[None].float() / 255
        resized = torchvision.transforms.functional.resize(
            picture, [IMAGE_SIZE, IMAGE_SIZE], antialias=True
        )
        logits.append(imagenet.imagenet_logits(resized))
    of_head = torch.tensor([alone.predict_prepared(mixed)[row].probabilities for row in (1, 3)])
    expected = SecondOpinion(CLASS_NAMES)(of_head, torch.cat(logits))
    predictions = [asked.predict_prepared(mixed)[row] for row in (1, 3)]
    for prediction, row in zip(predictions, expected.tolist(), strict=True):
        assert prediction.probabilities == pytest.approx(row, abs=0.01)
        assert prediction.confidence == max(prediction.probabilities)


def test_nobody_is_asked_where_all_images_are_as_they_are(classifiers, mixed, monkeypatch):
    asked, alone = classifiers()
    monkeypatch.setattr(type(asked.backbone), "imagenet_logits", None)
    images = [mixed[0], mixed[2]]
    assert asked.predict_prepared(images) == alone.predict_prepared(images)
    assert asked.predict([image.pixels // 30 * 9 for image in images[:1]])
    with pytest.raises(TypeError):
        asked.predict_prepared(mixed)


def test_evaluation_has_no_second_opinion(classifiers, images):
    asked, alone = classifiers()
    assert torch.equal(asked(images), alone(images))


def test_features_may_be_extracted_once_for_several_classifiers(classifiers, mixed):
    [asked, alone], [multi_item, _] = classifiers(), classifiers(multi_item=True)
    extracted = asked.extract(mixed)
    assert extracted.imagenet.shape == (2, 1000)
    for classifier in (asked, alone, multi_item):
        given = classifier.predict_prepared(mixed, extracted)
        assert given == classifier.predict_prepared(mixed)
    assert alone.extract(mixed).imagenet is None


# Where there is none


def test_there_is_one_only_with_imagenets_classifier_and_known_class_names(
    make_classifier, make_backbone, imagenet, imagenet_file, backbone
):
    def opinion(**overrides):
        return make_classifier(**({"backbone": imagenet} | overrides)).opinion

    assert isinstance(opinion(), SecondOpinion)
    assert isinstance(opinion(class_names=["Bag", "Trouser"]), SecondOpinion)
    assert opinion(second_opinion=False) is None
    assert opinion(class_names=["Bag", "Hat"]) is None
    assert opinion(backbone=backbone) is None  # random weights
    assert opinion(backbone=make_backbone(weights=imagenet_file(10))) is None
    unfrozen = make_backbone(weights=imagenet_file(), unfreeze="layer4")
    assert opinion(backbone=unfrozen) is None


def test_timm_backbones_have_no_second_opinion(make_backbone):
    pytest.importorskip("timm")
    backbone = make_backbone(name="timm/efficientnet_lite0")
    assert not has_second_opinion(backbone, CLASS_NAMES)


def test_second_opinion_adds_nothing_that_is_trained(classifiers):
    asked, alone = classifiers()
    assert asked.state_dict().keys() == alone.state_dict().keys()
    trained = [[n for n, p in c.named_parameters() if p.requires_grad] for c in (asked, alone)]
    assert trained[0] == trained[1]
    assert all(name.startswith("head.") for name in trained[0])


# Checkpoints


@pytest.fixture
def saved(make_task, make_trainer, make_features, imagenet, tmp_path):
    """`saved(second_opinion)`: the checkpoint of a classifier on `imagenet`."""

    def save(second_opinion: bool):
        task = make_task(backbone=imagenet, standardise=False, second_opinion=second_opinion)
        trainer = make_trainer(tmp_path, max_epochs=1)
        trainer.fit(task, torch.utils.data.DataLoader([make_features([0, 1])], batch_size=None))
        trainer.save_checkpoint(tmp_path / "best.ckpt", weights_only=True)
        return tmp_path / "best.ckpt"

    return save


@pytest.mark.parametrize("wanted", [True, False])
def test_checkpoint_names_the_second_opinion_and_restores_it(saved, mixed, wanted):
    path = saved(wanted)
    content = read_checkpoint(path)
    assert content["classifier"]["second_opinion"] is wanted
    assert not any("imagenet" in name or "opinion" in name for name in content["state_dict"])
    loaded = load_classifier(path, precision="float32")
    assert (loaded.opinion is not None) is wanted
    assert len(loaded.predict_prepared(mixed)) == len(mixed)


def test_checkpoint_without_the_key_is_loaded_without_a_second_opinion(saved):
    path = saved(True)
    content = torch.load(path, weights_only=True)
    del content["classifier"]["second_opinion"]
    torch.save(content, path)
    assert load_classifier(path, precision="float32").opinion is None


def test_checkpoint_names_the_precision_of_the_backbone_and_not_of_imagenets_classifier(
    make_task, make_trainer, make_features, make_backbone, imagenet_file, tmp_path
):
    backbone = make_backbone(weights=imagenet_file(), precision="bfloat16")
    backbone.to_device("cpu")
    trainer = make_trainer(tmp_path, max_epochs=1)
    task = make_task(backbone=backbone, standardise=False)
    trainer.fit(task, torch.utils.data.DataLoader([make_features([0, 1])], batch_size=None))
    trainer.save_checkpoint(tmp_path / "best.ckpt", weights_only=True)
    assert read_checkpoint(tmp_path / "best.ckpt")["classifier"]["precision"] == "bfloat16"
