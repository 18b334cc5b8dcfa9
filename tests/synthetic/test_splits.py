"""Splits of synthetic images: labels, names, fingerprints, and the training sets of `Exposure`."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from fashion_transfer.data.alignment import FOREGROUND
from fashion_transfer.data.batch import Split
from fashion_transfer.errors import ArgumentError, FashionTransferError
from fashion_transfer.synthetic import composites, out_of_distribution
from fashion_transfer.synthetic.composites import TooFewImagesError, compose
from fashion_transfer.synthetic.images import BLOCK, MAX_ROWS
from fashion_transfer.synthetic.layouts import LAYOUTS, TRAINED_LAYOUTS
from fashion_transfer.synthetic.out_of_distribution import OUT_OF_DISTRIBUTION, ood_images
from fashion_transfer.synthetic.splits import Exposure, composite_split, ood_split

THREE = ("side_by_side", "stacked", "scatter_of_four")
both = pytest.mark.parametrize("control", [False, True])


class Read:
    """Images that are read one by one, or in a batch, and not an array."""

    def __init__(self, images) -> None:
        self.images = list(images)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> np.ndarray:
        return self.images[row]


def equal(one, other) -> bool:
    return all(np.array_equal(*pair) for pair in zip(one, other, strict=True))


def images_of(split: Split) -> list[np.ndarray]:
    return split.read(split.rows)


# Composites and controls


def test_composites_have_the_label_given_and_controls_that_of_their_item(split, items, labels):
    for layout in LAYOUTS:
        multi = composite_split(split, None, [layout], 20, multi_item_label=10)
        lone = composite_split(split, None, [layout], 20, control=True, multi_item_label=10)
        assert multi.labels.tolist() == [10] * 20
        assert multi.labels.dtype == lone.labels.dtype == np.int64
        for result, control in ((multi, False), (lone, True)):
            expected = compose(items, labels, layout, np.arange(20), control=control)
            assert equal(images_of(result), expected.pixels[:, None])
        assert np.array_equal(lone.labels, expected.labels[:, 0])


@both
def test_a_larger_count_changes_no_earlier_image_or_label(split, control):
    few, more = (composite_split(split, split.rows, THREE, n, control) for n in (20, 120))
    assert (len(few.labels), len(more.labels)) == (20, 120)
    assert np.array_equal(few.labels, more.labels[:20])
    assert equal(images_of(few), images_of(more)[:20])
    assert few.fingerprint == more.fingerprint
    assert len(few.images) == len(more.images)  # cached features stay in their rows


@both
def test_items_are_the_rows_given_for_any_order_and_source_of_the_split(
    items, labels, split, control
):
    chosen = np.flatnonzero(labels < 4)
    expected = compose(items[chosen], labels[chosen], "stacked", range(20), control=control)
    order = np.random.default_rng(0).permutation(len(labels))
    shuffled = Split("training images", Read(items[:, None]), labels[order], "f", order)
    for source in (split, shuffled):
        result = composite_split(source, chosen, ["stacked"], 20, control)
        assert equal(images_of(result), expected.pixels[:, None])


@both
def test_blank_images_are_no_items(items, labels, control):
    blank = np.flatnonzero(labels == 4)[:2]
    images = items.copy()
    images[blank] = 0
    visible = np.delete(np.arange(len(labels)), blank)
    source = Split("training images", images[:, None], labels, "f")
    for rows in (None, np.arange(len(labels))):
        result = composite_split(source, rows, THREE, 40, control)
        expected = composite_split(source, visible, THREE, 40, control)
        assert equal(images_of(result), images_of(expected))
        assert np.array_equal(result.labels, expected.labels)
        assert result.fingerprint == expected.fingerprint


def test_too_few_images_that_are_not_blank_are_too_few(items, labels):
    images = items * (labels < 1)[:, None, None]
    source = Split("training images", images[:, None], labels, "f")
    with pytest.raises(TooFewImagesError, match="layout 'side_by_side' needs 2 or more classes"):
        composite_split(source, None, THREE, 4)


def test_an_image_that_is_too_dark_is_named_by_its_row(items, labels):
    images = items.copy()
    row, *others = np.flatnonzero(labels == 4)[:4].tolist()
    images[row] = 0
    images[row, 14, 3:25] = FOREGROUND + 1  # a line so dim that resizing loses it
    rows = np.array([*np.flatnonzero(labels != 4), row, *others])[::-1]
    source = Split("training images", images[:, None], labels, "f")
    dark = composite_split(source, rows, ["square_of_four"], 200)
    with pytest.raises(FashionTransferError, match=f"^image {row}, counted from 0, with the label"):
        images_of(dark)


def test_an_array_of_images_is_not_copied(split):
    result = composite_split(split, split.rows, THREE, 4)
    assert np.shares_memory(result.images.images, split.images)


def test_names_of_splits(split):
    assert composite_split(split, None, THREE, 1).name == "composites"
    assert composite_split(split, None, ["stacked"], 1, control=True).name == "stacked controls"
    assert ood_split("noise", split, 1).name == "noise images"


def test_a_composite_split_survives_pickling(split):
    result = composite_split(split, None, THREE, 20)
    copy = pickle.loads(pickle.dumps(result))
    assert copy.fingerprint == result.fingerprint
    assert equal(images_of(copy), images_of(result))


@pytest.mark.parametrize(
    "change",
    [
        {"split": "another source"},
        {"split": "other labels"},
        {"rows": np.arange(49)},
        {"rows": np.arange(1, 51)},
        {"layouts": THREE[:2]},
        {"layouts": THREE[::-1]},
        {"control": True},
    ],
)
def test_the_fingerprint_covers_all_that_determines_the_images(split, change):
    sources = {
        "another source": replace(split, fingerprint="another"),
        "other labels": replace(split, labels=split.labels[::-1]),
    }
    given = {"split": split, "rows": np.arange(50), "layouts": THREE, "count": 4}
    changed = given | change
    if "split" in change:
        changed["split"] = sources[change["split"]]
    one, other = (composite_split(**arguments).fingerprint for arguments in (given, changed))
    assert one != other
    assert len(one) == 64


def test_the_fingerprint_follows_a_layout_or_version_that_changes(split, monkeypatch):
    prints = [composite_split(split, None, THREE, 4).fingerprint]
    monkeypatch.setattr(composites, "VERSION", composites.VERSION + 1)
    prints.append(composite_split(split, None, THREE, 4).fingerprint)
    monkeypatch.setitem(LAYOUTS, "stacked", LAYOUTS["same_stacked"])
    prints.append(composite_split(split, None, THREE, 4).fingerprint)
    assert len(set(prints)) == 3


def test_the_fingerprint_does_not_depend_on_label_or_name_of_the_composites(split):
    one = composite_split(split, None, THREE, 4, multi_item_label=10)
    other = composite_split(replace(split, name="other"), None, THREE, 4, multi_item_label=3)
    assert one.fingerprint == other.fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"count": -1}, "^count must be 0 to 100000, got -1$"),
        ({"count": MAX_ROWS + 1}, "^count must be 0 to 100000, got 100001$"),
        ({"layouts": []}, "^layouts must name at least one layout, got none$"),
        ({"layouts": ["stacked", "spiral"], "count": 0}, "^layout must be .*, got 'spiral'$"),
        ({"rows": [3, 60]}, "^rows must be rows of the training images, got 60$"),
    ],
)
def test_composite_split_rejects_impossible_arguments(split, change, message):
    good = {"split": split, "rows": None, "layouts": THREE, "count": 4}
    with pytest.raises(ArgumentError, match=message):
        composite_split(**(good | change))


def test_composite_split_rejects_too_few_images_of_the_layouts_it_uses(labels, split):
    order = np.argsort(labels, kind="stable").reshape(10, -1)
    two_per_class = order[:, :2].ravel()
    with pytest.raises(TooFewImagesError, match="'scatter_of_four'"):
        composite_split(split, two_per_class, THREE, 3 * BLOCK)
    assert len(images_of(composite_split(split, two_per_class, THREE, 2 * BLOCK))) == 2 * BLOCK


@pytest.mark.parametrize(
    ("images", "shape"),
    [
        (np.zeros((60, 3, 28, 28), np.uint8), "3, 28, 28"),
        (Read(np.zeros((60, 3, 28, 28), np.uint8)), "3, 28, 28"),
        (Read(np.zeros((60, 1, 28, 20), np.uint8)), "1, 28, 20"),
        (Read([np.zeros((1, 28 + i // 50, 28 + i // 50), np.uint8) for i in range(60)]), "1, 29"),
    ],
)
def test_images_in_colour_not_square_or_of_different_sizes_are_rejected(labels, images, shape):
    source = Split("photos", images, labels, "f")
    for make in (
        lambda: composite_split(source, None, THREE, 4),
        lambda: ood_split("shuffled_patches", source, 4),
        lambda: Exposure()(source, 10),
    ):
        with pytest.raises(FashionTransferError, match=f"^photos are of shape .{shape}") as caught:
            make()
        assert "\n" not in str(caught.value)


# Out-of-distribution images


@pytest.mark.parametrize("name", OUT_OF_DISTRIBUTION)
def test_ood_split_has_the_images_of_its_name_without_a_class(split, items, name):
    few, more = (ood_split(name, split, count) for count in (3, 9))
    assert equal(images_of(more), ood_images(name, 9, images=items)[:, None])
    assert equal(images_of(few), images_of(more)[:3])
    assert few.labels.tolist() == [-1] * 3
    assert few.labels.dtype == np.int64
    assert few.fingerprint == more.fingerprint
    assert equal(images_of(pickle.loads(pickle.dumps(few))), images_of(few))


def test_shuffled_patches_are_of_the_members_of_the_split(split, items, labels):
    members = replace(split, labels=labels[10:20], rows=np.arange(10, 20))
    shuffled = images_of(ood_split("shuffled_patches", members, 10))
    assert sorted(image.sum() for image in shuffled) == sorted(item.sum() for item in items[10:20])


def test_each_ood_set_has_its_own_fingerprint_and_shuffled_patches_one_per_source(
    split, monkeypatch
):
    other = replace(split, fingerprint="another")
    part = replace(split, labels=split.labels[:9], rows=split.rows[:9])

    def prints(source):
        return {name: ood_split(name, source, 1).fingerprint for name in OUT_OF_DISTRIBUTION}

    before = prints(split)
    assert len(set(before.values())) == len(OUT_OF_DISTRIBUTION)
    for source in (other, part):
        changed = {name for name, value in prints(source).items() if value != before[name]}
        assert changed == {"shuffled_patches"}
    monkeypatch.setattr(out_of_distribution, "VERSION", out_of_distribution.VERSION + 1)
    assert not set(prints(split).values()) & set(before.values())


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [
        ("cats", 1, "^name must be one of noise, .*, got 'cats'$"),
        ("noise", -1, "^count must be 0 to 100000, got -1$"),
        ("noise", MAX_ROWS + 1, "^count must be 0 to 100000, got 100001$"),
    ],
)
def test_ood_split_rejects_impossible_arguments(split, name, count, message):
    with pytest.raises(ArgumentError, match=message):
        ood_split(name, split, count)


def test_ood_split_rejects_images_that_cannot_be_cut(labels):
    source = Split("photos", np.zeros((60, 1, 3, 3), np.uint8), labels, "f")
    with pytest.raises(FashionTransferError, match="at least 4"):
        ood_split("shuffled_patches", source, 4)


# Exposure


def test_exposure_gives_composites_and_controls_of_trained_layouts(split):
    exposure = Exposure(composites=30, controls=40)
    multi, lone = exposure(split, 10)
    assert [multi.name, lone.name] == ["composites", "controls"]
    assert [len(multi.labels), len(lone.labels)] == [30, 40]
    assert set(multi.labels) == {10}
    for result, control in ((multi, False), (lone, True)):
        count = len(result.labels)
        expected = composite_split(split, split.rows, TRAINED_LAYOUTS, count, control, 10)
        assert result.fingerprint == expected.fingerprint
        assert np.array_equal(result.labels, expected.labels)
        assert equal(images_of(result), images_of(expected))


def test_exposure_defaults():
    assert Exposure() == Exposure(composites=1400, controls=3500, images_per_class=500)


def test_exposure_gives_at_most_as_many_as_there_are_training_images(split):
    assert [len(s.labels) for s in Exposure()(split, 10)] == [60, 60]


@pytest.mark.parametrize(
    ("exposure", "names"),
    [
        (Exposure(0, 0), []),
        (Exposure(8, 0), ["composites"]),
        (Exposure(0, 8), ["controls"]),
    ],
)
def test_exposure_gives_no_split_without_images(split, exposure, names):
    assert [s.name for s in exposure(split, 10)] == names
    assert exposure.multi_item == ("composites" in names)


def test_items_are_the_first_per_class_in_file_order(split, labels):
    first = np.concatenate([np.flatnonzero(labels == label)[:4] for label in range(10)])
    order = np.random.default_rng(0).permutation(60)
    shuffled = replace(split, labels=labels[order], rows=order)
    expected = composite_split(split, np.sort(first), TRAINED_LAYOUTS, 60, False, 10)
    for source in (split, shuffled):
        result = Exposure(images_per_class=4)(source, 10)[0]
        assert result.fingerprint == expected.fingerprint
        assert equal(images_of(result), images_of(expected))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"composites": -1}, "^composites must be a whole number from 0 to 100000, got -1$"),
        ({"controls": 1.5}, "^controls must be a whole number from 0 to 100000, got 1.5$"),
        ({"composites": 100_001}, "^composites must be .* got 100001$"),
        ({"images_per_class": 0}, "^images_per_class must be a whole number from 1 to .*, got 0$"),
    ],
)
def test_exposure_rejects_impossible_numbers(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        Exposure(**arguments)


def test_exposure_has_composites_of_one_image_per_class(split):
    rows = np.unique(split.labels, return_index=True)[1]
    few = replace(split, labels=split.labels[rows], rows=split.rows[rows])
    composites, controls = Exposure()(few, 10)
    assert len(composites) == len(controls) == len(rows)
    assert len(composites.read(composites.rows)) == len(rows)


def test_exposure_names_what_to_do_when_there_are_too_few_images(split):
    few = replace(split, labels=np.zeros(10), rows=np.arange(10))
    message = "^too few training images: layout .* give more images, or set composites=0 and contr"
    with pytest.raises(FashionTransferError, match=message) as caught:
        Exposure()(few, 10)
    assert "\n" not in str(caught.value)
