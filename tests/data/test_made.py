"""Made images: a pure function of their number, under their own labels; mixtures of datasets."""

import json

import numpy as np
import pytest
import torch

from fashion_transfer.data import LAYOUTS, TRAINED_LAYOUTS, compose, render
from fashion_transfer.data.made import (
    BLOCK,
    MOST,
    SEVERAL,
    MadeDataset,
    Mixture,
    composite_set,
    unfamiliar_set,
)
from fashion_transfer.data.sources import load_split
from fashion_transfer.data.unfamiliar import UNFAMILIAR, unfamiliar
from fashion_transfer.data.views import frame
from fashion_transfer.errors import FashionTransferError

THREE = ("side_by_side", "stacked", "scatter_of_four")
ITEMS = np.arange(100)


@pytest.fixture(scope="module")
def split(idx_dir):
    return load_split(idx_dir, True, check_md5=False)


@pytest.fixture(scope="module")
def test_split(idx_dir):
    return load_split(idx_dir, False, check_md5=False)


def same_images(one, other) -> bool:
    return all(np.array_equal(*pair) for pair in zip(one, other, strict=True))


class Table:
    """Kept features: each number, three times."""

    kind = "maps"

    def gather(self, numbers: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(numbers).float()[:, None].expand(-1, 3)


def squares(numbers: np.ndarray) -> list[np.ndarray]:
    """Full squares as bright as their number, of two sizes in turn."""
    return [np.full((28 + 14 * (n % 2),) * 2, 100 + n, np.uint8) for n in numbers]


def numbered(count: int = 6, first: int = 0) -> MadeDataset:
    return MadeDataset(squares, np.arange(first, first + count), 32, {"view": "squares"})


# Images by number


def test_a_batch_holds_images_of_any_size_at_the_backbones_and_their_labels():
    batch = numbered().__getitems__([4, (1, 7), 3])  # a view number means nothing here
    assert set(batch) == {"images", "labels"}
    assert batch["labels"].tolist() == [4, 1, 3]
    assert batch["labels"].dtype == torch.int64
    assert batch["images"].shape == (3, 1, 32, 32)
    assert batch["images"].dtype == torch.float32
    assert batch["images"].mean(dim=(1, 2, 3)).tolist() == pytest.approx(
        [104 / 255, 101 / 255, 103 / 255]
    )


def test_one_image_can_be_looked_at():
    assert numbered()[2]["labels"].tolist() == [2]
    assert numbered()[(2, 1)]["images"].shape == (1, 1, 32, 32)


def test_a_batch_holds_features_where_they_are_kept():
    made = numbered()
    made.features = [Table()]
    batch = made.__getitems__([5, 0])
    assert set(batch) == {"maps", "labels"}
    assert batch["maps"].tolist() == [[5.0] * 3, [0.0] * 3]


def test_an_image_is_rendered_trimmed_and_the_same_in_any_batch():
    def small(numbers):
        images = np.zeros((len(numbers), 40, 40), np.uint8)
        images[:, 3:13, 5:15] = 200
        return images

    made = MadeDataset(small, np.zeros(4, np.int64), 32, {})
    together = made.render(np.arange(4), torch.device("cpu"))
    expected = render(frame(torch.from_numpy(small([0]))).unsqueeze(0), 32)
    assert torch.equal(together, expected.expand(4, -1, -1, -1))
    assert together.mean() > 0.5  # not small any more
    assert torch.equal(made.render(np.array([2]), torch.device("cpu"))[0], together[2])


def test_more_images_than_a_table_holds_are_refused():
    assert len(MadeDataset(squares, np.zeros(MOST, np.int64), 32, {})) == MOST
    with pytest.raises(FashionTransferError, match=f"{MOST + 1} images"):
        MadeDataset(squares, np.zeros(MOST + 1, np.int64), 32, {})


# Composites


@pytest.mark.parametrize("control", [False, True])
def test_a_larger_count_changes_no_earlier_image_or_label(split, control):
    few, many = (composite_set(split, ITEMS, THREE, n, 32, control) for n in (20, 120))
    assert np.array_equal(few.labels, many.labels[:20])
    assert same_images(few.make(np.arange(20)), many.make(np.arange(120))[:20])
    assert few.key == many.key


@pytest.mark.parametrize("control", [False, True])
def test_an_image_depends_on_neither_batch_nor_order(split, control):
    made = composite_set(split, ITEMS, THREE, 120, 32, control)
    every = made.make(np.arange(120))
    numbers = np.random.default_rng(0).permutation(120)[:30]
    assert same_images(made.make(numbers), [every[n] for n in numbers])
    assert len({image.tobytes() for image in every}) == 120


def test_layouts_take_turns_by_blocks(split):
    made = composite_set(split, ITEMS, THREE, 7 * BLOCK, 32)
    images = made.make(np.arange(7 * BLOCK))
    for turn in range(7):
        block = images[turn * BLOCK : (turn + 1) * BLOCK]
        own = np.arange(BLOCK) + turn // 3 * BLOCK
        alone = compose(split.images[ITEMS], split.labels[ITEMS], THREE[turn % 3], own)
        assert same_images(block, alone.pixels)


def test_composites_are_several_items_and_controls_carry_their_items_label(split):
    assert SEVERAL == 10
    for name in LAYOUTS:
        several = composite_set(split, ITEMS, [name], 20, 32)
        control = composite_set(split, ITEMS, [name], 20, 32, control=True)
        assert several.labels.tolist() == [SEVERAL] * 20
        assert several.labels.dtype == control.labels.dtype == np.int64
        found = compose(split.images[ITEMS], split.labels[ITEMS], name, np.arange(20), control=True)
        assert np.array_equal(control.labels, found.labels[:, 0])


def test_items_are_of_the_images_given_alone(split):
    items = np.flatnonzero(split.labels < 4)
    made = composite_set(split, items, TRAINED_LAYOUTS, 200, 32, control=True)
    assert set(made.labels) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    "change",
    [
        {"split": None},
        {"indices": ITEMS[:-1]},
        {"indices": ITEMS + 1},
        {"layouts": THREE[:2]},
        {"control": True},
    ],
)
def test_the_key_names_all_that_determines_the_images(split, test_split, change):
    given = {"split": split, "indices": ITEMS[:50], "layouts": THREE, "count": 4, "image_size": 32}
    change = {"split": test_split} if "split" in change else change
    one, other = (composite_set(**g).key for g in (given, given | change))
    assert json.dumps(one) != json.dumps(other)


def test_the_key_follows_a_layout_that_changes(split, monkeypatch):
    before = composite_set(split, ITEMS, THREE, 4, 32).key
    monkeypatch.setitem(LAYOUTS, "stacked", LAYOUTS["same_stacked"])
    after = composite_set(split, ITEMS, THREE, 4, 32).key
    assert before != after
    assert before == before | {k: v for k, v in after.items() if k != "layouts"}


def test_too_few_images_are_refused_at_once(split):
    one_a_class = [np.flatnonzero(split.labels == label)[0] for label in range(10)]
    with pytest.raises(FashionTransferError, match="at least"):
        composite_set(split, np.array(one_a_class), ["scatter_of_two"], 4, 32)


# Unfamiliar images


@pytest.mark.parametrize("kind", UNFAMILIAR)
def test_unfamiliar_images_are_those_of_their_number_under_no_label(split, kind):
    few, many = (unfamiliar_set(kind, split, count, 32) for count in (3, 9))
    expected = unfamiliar(kind, 9, images=split.images)
    assert same_images(many.make(np.arange(9)), expected)
    assert same_images(few.make(np.array([2, 0])), expected[[2, 0]])
    assert few.labels.tolist() == [-1] * 3
    assert few.key == many.key
    assert few[0]["images"].shape == (1, 1, 32, 32)


def test_each_unfamiliar_kind_and_file_has_a_key_of_its_own(split, test_split):
    keys = {
        json.dumps(unfamiliar_set(kind, file, 1, 32).key)
        for kind in UNFAMILIAR
        for file in (split, test_split)
    }
    assert len(keys) == 2 * len(UNFAMILIAR)


# Mixtures


class Recorded:
    """Rows of pixels, and what was asked for."""

    def __init__(self, count: int) -> None:
        self.count, self.asked = count, []

    def __len__(self) -> int:
        return self.count

    def __getitems__(self, items):
        self.asked.append([tuple(map(int, item)) for item in items])
        numbers = torch.tensor([int(item[0]) for item in items])
        return {"labels": 100 + numbers, "pixels": numbers[:, None].expand(-1, 2)}


def test_positions_of_the_second_follow_those_of_the_first():
    first, third = Recorded(4), Recorded(3)
    mixture = Mixture([first, Recorded(0), third])
    assert len(mixture) == 7
    batch = mixture.__getitems__([(6, 2), (0, 1), (4, 5), (3, 0)])
    assert first.asked == [[(0, 1), (3, 0)]]  # views go on to where they belong
    assert third.asked == [[(2, 2), (0, 5)]]
    # Rows and labels keep together, those of the first dataset first.
    assert batch["labels"].tolist() == [100, 103, 102, 100]
    assert batch["pixels"][:, 0].tolist() == [0, 3, 2, 0]


def test_a_plain_position_is_view_0():
    first, second = Recorded(2), Recorded(2)
    mixture = Mixture([first, second])
    assert mixture[3]["labels"].tolist() == [101]
    assert mixture.__getitems__([1, (2, 3)])["labels"].tolist() == [101, 100]
    assert (first.asked, second.asked) == ([[(1, 0)]], [[(1, 0)], [(0, 3)]])


def test_every_position_comes_once():
    mixture = Mixture([numbered(5), numbered(3, first=50)])
    batch = mixture.__getitems__([(n, 0) for n in np.random.default_rng(0).permutation(8)])
    assert sorted(batch["labels"].tolist()) == [0, 1, 2, 3, 4, 50, 51, 52]
    shown = (batch["images"].mean(dim=(1, 2, 3)) * 255 - 100).round().int().tolist()
    assert shown == [label % 50 for label in batch["labels"].tolist()]


def test_pixels_and_images_stand_side_by_side_and_features_are_one():
    mixture = Mixture([Recorded(2), numbered(2)])
    mixed = mixture.__getitems__([0, 2, 1])
    assert set(mixed) == {"pixels", "images", "labels"}
    assert (len(mixed["pixels"]), len(mixed["images"])) == (2, 1)
    assert mixed["labels"].tolist() == [100, 101, 0]
    kept = numbered(2), numbered(3)
    for made in kept:
        made.features = [Table()]
    batch = Mixture(kept).__getitems__([4, 1])
    assert batch["maps"].tolist() == [[1.0] * 3, [2.0] * 3]
