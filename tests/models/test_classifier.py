import numpy as np
import pytest
import torch
from PIL import Image

from fashion_transfer.confidence import Prediction, fit_threshold
from fashion_transfer.confidence.decision import PHOTO_ADVICE
from fashion_transfer.data import Batch, ImageDataset, Split, get_preparation, input_images
from fashion_transfer.data.fashion_mnist import CLASS_NAMES
from fashion_transfer.data.preparation import AS_IT_IS, CUT_OUT, PLAIN_GROUND, Prepared
from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.models.classifier import PREDICT_BATCH


def grey_images(count: int, size: int = 28, seed: int = 0) -> np.ndarray:
    """Noise from edge to edge: uint8, (N, 1, size, size)."""
    shape = (count, 1, size, size)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# ---- features and logits


@pytest.mark.parametrize("standardise", [True, False])
def test_features_and_images_give_the_same_logits(make_classifier, images, standardise):
    classifier = make_classifier(standardise=standardise).eval()
    features = classifier.backbone(images)
    if standardise:
        classifier.fit_standardise([Batch(features=features)])
    from_features, from_images = (
        classifier.outputs(batch) for batch in (Batch(features=features), Batch(images=images))
    )
    assert torch.equal(from_features[0], from_images[0])
    assert torch.equal(from_features[1], from_images[1])


def test_calling_the_classifier_gives_logits_of_images(make_classifier, images):
    classifier = make_classifier().eval()
    logits = classifier(images)
    assert logits.shape == (5, 10)
    assert torch.equal(logits, classifier.outputs(Batch(images=images))[0])


@pytest.mark.parametrize(("multi_item", "logits"), [(False, 10), (True, 11)])
def test_multi_item_is_one_more_logit(make_classifier, images, multi_item, logits):
    classifier = make_classifier(multi_item=multi_item).eval()
    assert classifier(images).shape == (5, logits)
    assert classifier.class_logits(classifier(images)).shape == (5, 10)


def test_number_of_classes_is_that_of_the_names(make_classifier, images):
    classifier = make_classifier(class_names=["cat", "dog", "axolotl"], threshold=0.0)
    assert classifier(images).shape == (5, 3)
    assert {p.label for p in classifier.decide(*classifier.outputs(Batch(images=images)))} <= {
        "cat",
        "dog",
        "axolotl",
    }


def test_grey_images_stand_for_three_equal_channels(make_classifier, images):
    classifier, grey = make_classifier().eval(), images[:, :1]
    torch.testing.assert_close(classifier(grey), classifier(grey.expand(-1, 3, -1, -1)))


# ---- frozen means frozen


def test_only_the_head_requires_gradients(make_classifier):
    classifier = make_classifier()
    trained = {name for name, p in classifier.named_parameters() if p.requires_grad}
    assert trained == {f"head.{name}" for name, _ in classifier.head.named_parameters()}


def test_training_mode_reaches_the_head_and_not_the_backbone(make_classifier, images):
    classifier = make_classifier().eval()
    features = classifier.backbone(images)
    classifier.train()
    assert classifier.head.training
    assert not any(module.training for module in classifier.backbone.modules())
    assert torch.equal(classifier.backbone(images), features)


def test_no_gradient_reaches_the_backbone(make_classifier, images):
    classifier = make_classifier().train()
    classifier(images.requires_grad_()).sum().backward()
    assert images.grad is None
    assert all(p.grad is None for p in classifier.backbone.parameters())
    assert all(p.grad is not None for p in classifier.head.parameters())


# ---- trainable stages


def test_untrained_stage_gives_the_logits_of_the_frozen_backbone(
    make_classifier, make_backbone, unfrozen, images
):
    frozen = make_classifier(backbone=make_backbone(pool=unfrozen.pool)).eval()
    classifier = make_classifier(backbone=unfrozen).eval()
    assert frozen.stages is None
    torch.testing.assert_close(classifier(images), frozen(images), atol=1e-4, rtol=1e-4)


def test_maps_and_images_give_the_same_logits(make_classifier, unfrozen, images):
    classifier = make_classifier(backbone=unfrozen).eval()
    maps = unfrozen(images)
    assert torch.equal(classifier.outputs(Batch(maps=maps))[0], classifier(images))


def test_each_classifier_has_its_own_copy_of_the_stage(make_classifier, unfrozen):
    first, second = (make_classifier(backbone=unfrozen).stages for _ in range(2))
    with torch.no_grad():
        for parameter in first.parameters():
            parameter.zero_()
    assert any(parameter.any() for parameter in second.parameters())


# ---- out-of-distribution score


def test_score_is_the_mean_square_of_standardised_features(make_classifier, make_features):
    classifier = make_classifier()
    batch = make_features(range(10))
    classifier.fit_standardise([batch])
    _, score = classifier.outputs(batch)
    standardised = (batch.features - batch.features.mean(0)) / batch.features.std(0, correction=0)
    torch.testing.assert_close(score, standardised.square().mean(dim=1), rtol=1e-4, atol=1e-5)
    assert score.mean().item() == pytest.approx(1, rel=1e-4)
    assert not score.requires_grad


def test_without_standardising_every_score_is_0(make_classifier):
    classifier = make_classifier(standardise=False)
    batch = Batch(features=torch.full((2, 512), 1e3))
    _, score = classifier.outputs(batch)
    assert score.tolist() == [0, 0]
    assert {p.reason for p in classifier.decide(*classifier.outputs(batch))} <= {"", "ambiguous"}


def test_an_image_over_the_limit_is_unfamiliar(make_classifier):
    classifier = make_classifier()
    classifier.calibrator.ood_limit.fill_(1.5)
    logits = torch.zeros(4, 10)
    logits[:, 0] = 100  # as confident as can be
    predictions = classifier.decide(logits, torch.tensor([1.5, 1.5001, 0.0, 9.0]))
    assert [p.reason for p in predictions] == ["", "unfamiliar", "", "unfamiliar"]


def test_statistics_come_from_all_batches_together(make_classifier, feature_loader):
    classifier, loader = make_classifier(), feature_loader()
    classifier.fit_standardise(iter(loader))
    features = torch.cat([batch.features for batch in loader])
    torch.testing.assert_close(classifier.standardise.mean, features.mean(dim=0))
    assert classifier.standardise.fitted


# ---- decisions


def test_confidence_is_at_the_temperature(make_classifier, images):
    classifier = make_classifier().eval()
    classifier.calibrator.temperature.fill_(2.5)
    predictions = classifier.decide(*classifier.outputs(Batch(images=images)))
    expected = (classifier(images) / 2.5).softmax(dim=1)
    assert [p.label for p in predictions] == [CLASS_NAMES[i] for i in expected.argmax(dim=1)]
    assert [p.confidence for p in predictions] == pytest.approx(expected.amax(dim=1).tolist())


@pytest.mark.parametrize(("threshold", "warned"), [(0.0, False), (1.0, True)])
def test_predictions_follow_the_threshold(make_classifier, images, threshold, warned):
    classifier = make_classifier(threshold=threshold).eval()
    predictions = classifier.decide(*classifier.outputs(Batch(images=images)))
    assert [p.warning for p in predictions] == [warned] * 5


def test_a_prediction_names_classes_alone_however_probable_multi_item_is(make_classifier, images):
    classifier = make_classifier(multi_item=True).eval()
    with torch.no_grad():
        classifier.head[-1].bias[10] = 50
    for prediction in classifier.decide(*classifier.outputs(Batch(images=images))):
        assert {name for name, _ in prediction.top} <= set(CLASS_NAMES)
        assert prediction.confidence < 1e-6
        assert prediction.reason == "several items"


def test_fit_threshold_takes_the_one_of_the_validation_images(make_classifier):
    classifier = make_classifier()
    confidence = torch.linspace(0.3, 0.9, 20, dtype=torch.float64)
    validation = {"confidence": confidence, "correct": confidence > 0.5}
    classifier.calibrator.validation = validation
    for target in ({}, {"warned": 0.25}, {"selective_accuracy": 0.8}):
        classifier.fit_threshold(target)
        assert classifier.threshold == fit_threshold(**validation, **target)
    assert classifier.threshold != 0.8


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"accuracy": 0.9}, "threshold_target has an unknown option: .*accuracy"),
        ({"warned": 1.5}, r"threshold_target\.warned must be"),
        ({"selective_accuracy": "all"}, r"threshold_target\.selective_accuracy must be"),
    ],
)
def test_fit_threshold_rejects_an_impossible_target(make_classifier, target, message):
    classifier = make_classifier()
    classifier.calibrator.validation = {
        "confidence": torch.tensor([0.5]),
        "correct": torch.tensor([True]),
    }
    with pytest.raises(ArgumentError, match=f"^{message}"):
        classifier.fit_threshold(target)
    assert classifier.threshold == 0.8


# ---- predicting


def test_predict_takes_paths_pictures_and_arrays_alike(make_classifier, tmp_path):
    classifier, [grey] = make_classifier().eval(), grey_images(1)[0]
    picture = Image.fromarray(grey)
    picture.save(tmp_path / "item.png")
    colour = np.repeat(grey[..., None], 3, axis=2)
    forms = [str(tmp_path / "item.png"), tmp_path / "item.png", picture, grey, grey[None], colour]
    forms += [grey[..., None], colour.transpose(2, 0, 1), Image.fromarray(colour)]
    alone = [classifier.predict(form) for form in forms]
    assert all(len(predictions) == 1 for predictions in alone)
    together = classifier.predict(forms)
    first = together[0]
    assert isinstance(first, Prediction)
    for prediction in (*together, *(p for [p] in alone)):
        assert prediction.label == first.label
        assert prediction.confidence == pytest.approx(first.confidence, abs=1e-5)


def test_predict_takes_an_array_of_many_images(make_classifier):
    classifier, images = make_classifier().eval(), grey_images(3)
    expected = classifier.predict(list(images))
    assert classifier.predict(images) == expected
    assert classifier.predict(tuple(images)) == expected


def test_predict_gives_what_an_evaluation_of_the_same_images_gives(make_classifier):
    classifier, images = make_classifier().eval(), grey_images(6)
    split = Split("test images", images, np.zeros(6, np.int64), "0")
    dataset = ImageDataset(split, get_preparation("fashion_mnist"), 32)
    batch = dataset.__getitems__(range(6))
    with torch.no_grad():
        assert classifier.predict(images) == classifier.decide(*classifier.outputs(batch))


def test_predict_prepares_images_as_in_training(make_classifier):
    item = grey_images(1, 14, seed=3)[0]
    small = np.zeros((1, 60, 60), np.uint8)
    small[:, 20:34, 30:44] = item
    prepared = get_preparation("fashion_mnist")(small)
    assert prepared.shape != small.shape
    for name, wanted in (("fashion_mnist", prepared), ("photo", small)):
        classifier = make_classifier(preparation=name).eval()
        images = input_images([small], get_preparation(name), 32)
        assert images.shape[1] == (3 if name == "photo" else 1)
        expected = classifier.decide(*classifier.outputs(Batch(images=images)))
        assert classifier.predict(small) == classifier.predict(wanted) == expected


def test_predict_names_what_was_done_to_each_image(make_classifier):
    classifier, pixels = make_classifier().eval(), grey_images(1)[0]
    treatments = (AS_IT_IS, PLAIN_GROUND, CUT_OUT)
    predictions = classifier.predict_prepared([Prepared(pixels, t) for t in treatments])
    assert [p.prepared for p in predictions] == list(treatments)
    first = predictions[0]
    for prediction in predictions:
        assert prediction.probabilities == pytest.approx(first.probabilities, abs=1e-6)
        assert len(prediction.probabilities) == 10
    ground = np.full((3, 60, 50), 230, np.uint8)
    ground[:, 15:40, 10:35] = 60
    assert [p.prepared for p in classifier.predict([pixels, ground])] == [AS_IT_IS, PLAIN_GROUND]


def test_message_advises_on_what_was_cut_out_alone(make_classifier):
    classifier, pixels = make_classifier(threshold=1.0).eval(), grey_images(1)[0]
    treatments = (AS_IT_IS, PLAIN_GROUND, CUT_OUT)
    predictions = classifier.predict_prepared([Prepared(pixels, t) for t in treatments])
    assert [PHOTO_ADVICE in p.message for p in predictions] == [False, False, True]


def test_predict_prepared_takes_images_of_different_sizes_and_leaves_the_mode(make_classifier):
    classifier = make_classifier(head={"name": "linear", "dropout": 0.5}).train()
    images = [Prepared(grey_images(1, size)[0]) for size in (28, 40, 28)]
    predictions = classifier.predict_prepared(images)
    assert classifier.training
    assert predictions == classifier.predict_prepared(images)
    assert predictions[1] != predictions[0]
    assert predictions[2].probabilities == pytest.approx(predictions[0].probabilities, abs=1e-6)


def test_predict_takes_more_images_than_one_batch_in_their_order(make_classifier):
    classifier, images = make_classifier().eval(), grey_images(2 * PREDICT_BATCH + 3)
    predictions = classifier.predict(images)
    alone = [classifier.predict(image)[0] for image in images]
    assert [p.label for p in predictions] == [p.label for p in alone]
    assert [p.confidence for p in predictions] == pytest.approx(
        [p.confidence for p in alone], abs=1e-5
    )


def test_predict_of_no_images_is_empty(make_classifier):
    assert make_classifier().predict([]) == []


def test_predict_uses_no_dropout_and_leaves_the_mode_as_it_is(make_classifier):
    classifier = make_classifier(head={"name": "linear", "dropout": 0.5})
    images = grey_images(2)
    expected = classifier.eval().predict(images)
    assert not classifier.training
    assert classifier.train().predict(images) == expected
    assert classifier.training
    assert classifier.head.training
    with pytest.raises(FashionTransferError):
        classifier.predict(["nowhere.png"])
    assert classifier.training


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((28, 28), np.float32),
        np.zeros((2, 28, 28), np.uint8),
        np.zeros(28, np.uint8),
        np.zeros((1, 0, 28), np.uint8),
        np.zeros((28, 28, 4), np.uint8),
    ],
)
def test_predict_rejects_an_array_of_another_type_or_shape(make_classifier, image):
    with pytest.raises(ArgumentError, match="^image must be a path, a PIL image or an array"):
        make_classifier().predict([image])


def test_predict_names_a_file_that_cannot_be_read(make_classifier, tmp_path):
    (tmp_path / "notes.png").write_text("no image")
    for name in ("notes.png", "nowhere.png"):
        with pytest.raises(FashionTransferError, match=name):
            make_classifier().predict(tmp_path / name)


# ---- arguments


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"head": {"name": "transformer"}}, "head.name must be one of linear, mlp, got"),
        ({"head": {"hidden": 5}}, "head.name must be one of linear, mlp, got None"),
        ({"head": {"name": "mlp", "hidden": -1}}, "head mlp cannot be built"),
        ({"preparation": "x_ray"}, "preparation must be one of fashion_mnist, photo, got 'x_ray'"),
        ({"image_size": "large"}, "image_size must be a whole number from 1, got 'large'"),
        ({"image_size": 0}, "image_size must be a whole number from 1, got 0"),
        ({"class_names": []}, "class_names must be at least two"),
        ({"class_names": ["Bag"]}, "class_names must be at least two"),
        ({"threshold": -0.1}, "threshold must be a number from 0 to 1, got -0.1"),
        ({"threshold": 1.5}, "threshold must be a number from 0 to 1, got 1.5"),
        ({"threshold": "high"}, "threshold must be a number from 0 to 1, got 'high'"),
        ({"threshold": None}, "threshold must be a number from 0 to 1, got None"),
    ],
)
def test_classifier_rejects_an_impossible_argument(make_classifier, overrides, message):
    with pytest.raises(ArgumentError) as caught:
        make_classifier(**overrides)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
