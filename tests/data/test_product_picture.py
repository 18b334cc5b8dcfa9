"""Product pictures: what is ground, what belongs to an item, and the makers' treatment of it."""

import numpy as np
import pytest
from drawn import GROUNDS, SHIRT, TROUSERS, as_jpeg, framed, mask, noise, picture, pixels
from PIL import Image, ImageDraw
from scipy import ndimage

from fashion_transfer.data.product_picture import (
    ITEM,
    SIZE,
    as_fashion_mnist,
    items_by_corner_colour,
    items_on_plain_ground,
    on_white,
    resize,
)

PLACE = (50, 60)
BOTH = ((SHIRT, (10, 60)), (TROUSERS, (290, 60)))


def true_items(size=(300, 320), items=((SHIRT, PLACE),), side=200) -> np.ndarray:
    """The pixels that were drawn as items: bool, (h, w)."""
    whole = Image.new("L", size)
    for outline, place in items:
        part = mask(outline, side)
        whole.paste(part, place, part)
    return np.asarray(whole) > 0


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two masks."""
    return (one & other).sum() / (one | other).sum()


# Items on a plain ground


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("shadow", [False, True])
def test_items_are_what_differs_from_a_plain_ground(ground, shadow):
    items = items_on_plain_ground(pixels(picture(GROUNDS[ground], shadow=shadow)))
    assert items.dtype == bool
    assert overlap(items, true_items()) > (0.94 if shadow else 0.98)


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize("frame", [None, 255, 0])
def test_compression_and_a_thin_frame_are_no_items(ground, frame):
    image = picture(GROUNDS[ground], shadow=True)
    image = image if frame is None else framed(image, frame)
    items = items_on_plain_ground(pixels(as_jpeg(image)))
    assert overlap(items, true_items()) > 0.92


def test_ground_may_get_darker_from_one_side_to_the_other():
    light = np.linspace(0.88, 1, 320)[:, None]
    image = (pixels(picture(GROUNDS["beige"])) * light).astype(np.uint8)
    assert overlap(items_on_plain_ground(image), true_items()) > 0.97


def test_mask_has_the_size_of_a_large_picture():
    image = pixels(picture(size=(900, 700), side=500))
    items = items_on_plain_ground(image)
    assert items.shape == (700, 900)
    assert overlap(items, true_items((900, 700), side=500)) > 0.97


def test_two_items_stay_two():
    items = items_on_plain_ground(pixels(picture(items=BOTH, size=(500, 320))))
    assert ndimage.label(items)[1] == 2
    assert overlap(items, true_items((500, 320), BOTH)) > 0.95


def test_ground_between_legs_and_in_a_hole_is_ground():
    image = picture(GROUNDS["blue"], items=((TROUSERS, PLACE),))
    ImageDraw.Draw(image).ellipse((130, 80, 170, 110), fill=GROUNDS["blue"])
    items = items_on_plain_ground(pixels(image))
    assert not items[220, 150]
    assert not items[95, 150]
    assert items[130, 150]


def test_item_that_is_cut_by_an_edge_is_whole_up_to_it():
    image = picture(GROUNDS["light grey"], items=((TROUSERS, (50, 135)),))
    items = items_on_plain_ground(pixels(image))
    assert items[-1].any()
    assert overlap(items, true_items(items=((TROUSERS, (50, 135)),))) > 0.95


def test_dust_is_no_item():
    image = picture()
    draw = ImageDraw.Draw(image)
    for left in range(10, 290, 40):
        draw.rectangle((left, 10, left + 4, 14), fill=(90, 90, 90))
    items = items_on_plain_ground(pixels(image))
    assert not items[:30].any()
    assert overlap(items, true_items()) > 0.97


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "image",
    [
        noise(3, 200, 150),
        np.full((3, 200, 150), 200, np.uint8),
        np.full((3, 1, 1), 200, np.uint8),
        np.concatenate([np.full((3, 100, 90), v, np.uint8) for v in (60, 240)], axis=1),
    ],
    ids=["noise", "one colour", "one pixel", "two colours"],
)
def test_picture_without_a_plain_ground_or_an_item_gives_none(image):
    assert items_on_plain_ground(image) is None


def test_corner_colour_parts_items_from_the_ground():
    image = pixels(picture(GROUNDS["red"]))
    image[:, 0, 0] = 0  # one corner that differs, of four
    items = items_by_corner_colour(image)
    items[0, 0] = False
    assert overlap(items, true_items()) > 0.97
    assert items_by_corner_colour(np.full((3, 4, 5), 9, np.uint8)).all()


# The treatment


def box(top: int, left: int, height: int, width: int) -> np.ndarray:
    """A mask with one box, (100, 80)."""
    items = np.zeros((100, 80), bool)
    items[top : top + height, left : left + width] = True
    return items


@pytest.mark.parametrize(
    ("place", "size"),
    [((30, 20, 40, 20), (26, 13)), ((0, 0, 10, 80), (3, 26)), ((5, 70, 52, 2), (26, 1))],
)
def test_item_is_centred_with_its_longest_edge_scaled(place, size):
    prepared = as_fashion_mnist(np.full((3, 100, 80), 40, np.uint8), box(*place))
    assert prepared.shape == (1, SIZE, SIZE)
    assert prepared.dtype == np.uint8
    rows, columns = (np.flatnonzero(prepared[0].any(axis=axis)) for axis in (1, 0))
    assert (len(rows), len(columns)) == size
    assert max(size) == ITEM
    for places in (rows, columns):
        assert abs(places[0] - (SIZE - 1 - places[-1])) <= 1


@pytest.mark.parametrize(("value", "expected"), [(0, 255), (100, 155), (255, 0)])
def test_treatment_negates(value, expected):
    prepared = as_fashion_mnist(np.full((3, 100, 80), value, np.uint8), box(10, 10, 60, 60))
    assert (prepared[0, 1:27, 1:27] == expected).all()
    assert prepared[0, 0].max() == 0


def test_treatment_is_grey_by_brightness():
    image = np.zeros((3, 100, 80), np.uint8)
    image[1] = 255
    assert as_fashion_mnist(image, box(10, 10, 60, 60))[0, 14, 14] == 255 - 150  # ITU-R 601-2


def test_treatment_sharpens_edges():
    image = np.full((3, 52, 52), 160, np.uint8)
    image[:, :, 26:] = 96
    row = as_fashion_mnist(image, np.ones((52, 52), bool))[0, 14, 1:27].astype(int)
    assert row[12] < 255 - 160 == row[2]
    assert row[13] > 255 - 96 == row[-3]


def test_items_on_white_are_trimmed_and_keep_their_colour():
    image = noise(3, 100, 80)
    items = box(30, 20, 40, 10)
    items[50, 25] = False
    trimmed = on_white(image, items)
    assert trimmed.shape == (3, 40, 10)
    expected = image[:, 30:70, 20:30].copy()
    expected[:, 20, 5] = 255
    assert np.array_equal(trimmed, expected)


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((50, 100), (50, 100)),
        ((300, 150), (100, 50)),
        ((1, 1000), (1, 100)),
        ((101, 99), (100, 98)),
    ],
)
def test_resize_reduces_to_the_longest_side_and_never_enlarges(shape, size):
    image = noise(3, *shape)
    resized = resize(image, 100)
    assert resized.shape == (3, *size)
    assert resized.dtype == np.uint8
    if shape == size:
        assert resized is image
