"""The preparation of Fashion-MNIST: its three cases, on images as data sets and people have them.

What is done to items on black is in `test_alignment`, on a plain ground in `test_product_picture`.
"""

import numpy as np
import pytest
from drawn import GROUNDS, SHIRT, TROUSERS, as_jpeg, framed, in_a_room, mask, noise, picture, pixels
from PIL import Image

from fashion_transfer.data import PREPARATIONS, get_preparation, preparation
from fashion_transfer.data.alignment import align_foreground, is_on_black
from fashion_transfer.data.decoding import decode, read_image
from fashion_transfer.data.preparation import AS_IT_IS, CUT_OUT, PLAIN_GROUND, Prepared
from fashion_transfer.errors import ArgumentError
from fashion_transfer.synthetic import LAYOUTS, OUT_OF_DISTRIBUTION, compose, ood_images

prepare = get_preparation("fashion_mnist").prepare


@pytest.fixture
def fake_cut_out(monkeypatch):
    """`fake_cut_out(mask)`: a cut-out that finds these items; returns the pictures it was shown."""

    def install(mask: np.ndarray | None) -> list[np.ndarray]:
        shown = []
        monkeypatch.setattr(preparation, "cut_out", lambda picture: shown.append(picture) or mask)
        return shown

    return install


@pytest.fixture(scope="module")
def items() -> np.ndarray:
    """Items on black as Fashion-MNIST shows them, dim haze around some: uint8, (60, 28, 28)."""
    generator = np.random.default_rng(0)
    images = np.zeros((60, 28, 28), np.uint8)
    for number, image in enumerate(images):
        outline = np.asarray(mask((SHIRT, TROUSERS)[number % 2], 28)) / 255
        image[:] = outline * generator.integers(60, 256, (28, 28))
        image[outline == 0] = generator.integers(0, 1 + number % 20, (outline == 0).sum())
    return images


def same(image: np.ndarray, prepared: Prepared) -> bool:
    """Whether an image was aligned and nothing else."""
    aligned = np.array_equal(prepared.pixels, align_foreground(image))
    return aligned and prepared.treatment == AS_IT_IS and prepared.colour is None


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Mean absolute difference of grey levels."""
    return float(np.abs(one.astype(int) - other).mean())


# By name


def test_preparations_are_listed_by_their_names():
    assert set(PREPARATIONS) == {"fashion_mnist", "photo"}
    for name, prepares in PREPARATIONS.items():
        assert get_preparation(name) is prepares
        assert prepares.name == name
        assert isinstance(prepares.version, int)


def test_unknown_preparation_is_rejected_with_those_there_are():
    with pytest.raises(ArgumentError, match="^preparation must be one of fashion_mnist, photo"):
        get_preparation("sepia")


@pytest.mark.parametrize("name", PREPARATIONS)
@pytest.mark.parametrize("image", [noise(1, 28, 28), noise(3, 50, 40), pixels(picture())])
def test_preparation_is_pure_and_gives_uint8(name, image):
    before = image.copy()
    image.flags.writeable = False
    one, again = (get_preparation(name)(image) for _ in range(2))
    assert one.dtype == np.uint8
    assert one.ndim == 3
    assert np.array_equal(one, again)
    assert np.array_equal(image, before)
    assert np.array_equal(get_preparation(name).prepare(image).pixels, one)


def test_photos_for_a_photo_classifier_are_never_cut_out(fake_cut_out):
    shown = fake_cut_out(None)
    prepared = get_preparation("photo").prepare(noise(3, 50, 40))
    assert (prepared.treatment, prepared.colour, shown) == (AS_IT_IS, None, [])


# As it is: items on black, and what data sets are made of


def test_images_of_fashion_mnist_are_unchanged(items, fake_cut_out):
    shown = fake_cut_out(None)
    for image in items[:, None]:
        assert prepare(image).pixels is image
        assert same(image, prepare(image))
    assert shown == []


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("control", [False, True])
def test_composites_and_controls_are_aligned_and_no_more(items, layout, control):
    labels = np.arange(len(items)) % 10
    for image in compose(items, labels, layout, range(6), control=control).pixels[:, None]:
        assert same(image, prepare(image))


@pytest.mark.parametrize("name", OUT_OF_DISTRIBUTION)
def test_out_of_distribution_images_are_aligned_and_no_more(items, name, fake_cut_out):
    shown = fake_cut_out(None)
    for image in ood_images(name, 60, images=items)[:, None]:
        assert same(image, prepare(image))
    assert shown == []


def test_item_on_black_may_be_of_any_size_and_colour():
    image = pixels(picture((0, 0, 0), size=(400, 500)))
    assert is_on_black(image)
    assert same(image, prepare(image))


@pytest.mark.real_data
def test_official_test_images_saved_as_png_are_what_they_were(official, tmp_path):
    path = tmp_path / "image.png"
    for image in official[1].images[:2000]:
        Image.fromarray(image).save(path, compress_level=0)
        assert same(image[None], prepare(read_image(path)))


# An item on another plain ground


@pytest.fixture(scope="module")
def on_plain_white() -> np.ndarray:
    return prepare(pixels(picture())).pixels


def test_item_on_white_is_as_fashion_mnist_shows_it(on_plain_white):
    prepared = prepare(pixels(picture()))
    assert prepared.treatment == PLAIN_GROUND
    assert on_plain_white.shape == (1, 28, 28)
    assert on_plain_white.dtype == np.uint8
    # The cloth, negated; the ground, black.
    assert int(on_plain_white[0, 9, 14]) == pytest.approx(255 - 60, abs=15)
    assert on_plain_white[0, 0].max() == on_plain_white[0, -3:, 2].max() == 0
    drawn = np.asarray(mask(SHIRT, 200).crop((10, 20, 190, 184)).resize((26, 24))) > 127
    shown = on_plain_white[0, 2:26, 1:27] > 0
    assert (shown == drawn)[:, [*range(7), *range(19, 26)]].mean() > 0.9


@pytest.mark.parametrize("ground", GROUNDS)
@pytest.mark.parametrize(
    ("change", "at_most"),
    [
        (lambda drawn: drawn, 7),
        (lambda drawn: as_jpeg(drawn, 85), 11),
        (lambda drawn: framed(drawn, 255), 8),
        (lambda drawn: framed(drawn, 0), 8),
        (lambda drawn: as_jpeg(framed(drawn, 0), 85), 11),
        (lambda drawn: drawn.resize((1500, 1600)), 8),
    ],
    ids=["clean", "JPEG", "white frame", "black frame", "JPEG with a black frame", "large"],
)
def test_ground_shadow_noise_and_frame_make_no_difference(
    ground, change, at_most, on_plain_white, fake_cut_out
):
    shown = fake_cut_out(None)
    prepared = prepare(pixels(change(picture(GROUNDS[ground], shadow=True))))
    assert prepared.treatment == PLAIN_GROUND
    assert prepared.pixels.shape == (1, 28, 28)
    assert prepared.pixels.dtype == np.uint8
    assert difference(prepared.pixels, on_plain_white) < at_most
    assert shown == []


@pytest.mark.parametrize("hidden", [(0, 0, 0), (255, 0, 255)])
def test_transparent_ground_is_white_whatever_colour_it_hides(hidden, on_plain_white):
    image = picture(hidden)
    whole = Image.new("L", image.size)
    whole.paste(mask(), (50, 60))
    image.putalpha(whole)
    prepared = prepare(decode(image))
    assert prepared.treatment == PLAIN_GROUND
    assert difference(prepared.pixels, on_plain_white) < 4


def test_grey_picture_is_prepared_like_a_colour_one(on_plain_white):
    grey = np.asarray(picture().convert("L"))[None]
    prepared = prepare(grey)
    assert prepared.treatment == PLAIN_GROUND
    assert difference(prepared.pixels, on_plain_white) < 1


@pytest.mark.parametrize("margins", [(80, 80, 0, 0), (0, 0, 120, 120), (40, 60, 30, 10)])
def test_black_bars_of_a_screenshot_are_cropped(margins, on_plain_white):
    image = pixels(picture())
    (top, bottom), (left, right) = margins[:2], margins[2:]
    barred = np.pad(image, ((0, 0), (top, bottom), (left, right)))
    if top:
        barred[:, 12:20, left + 9 : left + 24] = 200  # the clock
    prepared = prepare(barred)
    assert prepared.treatment == PLAIN_GROUND
    assert np.array_equal(prepared.pixels, on_plain_white)


def test_negative_of_an_image_of_fashion_mnist_is_a_picture(items, fake_cut_out):
    shown = fake_cut_out(None)
    for image in items[::7, None]:
        prepared = prepare(255 - image)
        assert prepared.treatment == PLAIN_GROUND
        # As bright as before, but sharper.
        assert np.corrcoef(prepared.pixels.ravel(), image.ravel())[0, 1] > 0.5
    assert shown == []


# Anything else


def test_items_of_a_photo_are_cut_out(fake_cut_out, on_plain_white):
    drawn = np.zeros((360, 480), bool)
    drawn[80:280, 140:340] = np.asarray(mask()) > 127
    image = pixels(in_a_room((SHIRT, (140, 80))))
    shown = fake_cut_out(drawn)
    prepared = prepare(image)
    assert len(shown) == 1
    assert np.array_equal(shown[0], image)
    assert prepared.treatment == CUT_OUT
    assert prepared.pixels.shape == (1, 28, 28)
    assert difference(prepared.pixels, on_plain_white) < 6
    # In colour, on a white square.
    assert prepared.colour.shape == (3, 180, 180)
    assert (prepared.colour[:, :5] == 255).all()
    assert (prepared.colour[:, 80, 90] == image[:, 80 + 20 + 72, 140 + 10 + 90]).all()


@pytest.mark.real_net
def test_real_net_cuts_out_what_a_person_would(cutout_net, on_plain_white):
    prepared = prepare(pixels(in_a_room((SHIRT, (140, 80)))))
    assert prepared.treatment == CUT_OUT
    assert difference(prepared.pixels, on_plain_white) < 12


def test_photo_without_the_net_is_taken_for_a_plain_ground(caplog):
    for seed in range(2):
        prepared = prepare(noise(3, 150, 120, seed=seed))
        assert prepared.treatment == PLAIN_GROUND
        assert prepared.pixels.shape == (1, 28, 28)
        assert prepared.colour.shape == (3, 150, 150)
    assert len(caplog.records) == 1
    assert "make cutout" in caplog.text


def test_photo_in_which_nothing_stands_out_is_taken_for_a_plain_ground(fake_cut_out):
    fake_cut_out(None)
    assert prepare(noise(3, 150, 120)).treatment == PLAIN_GROUND


# Any picture there is


def odd_pictures():
    """Pictures of many sizes, shapes, colours and contents, always the same: uint8, (C, h, w)."""
    generator = np.random.default_rng(0)
    sides = (1, 2, 3, 5, 13, 28, 57, 113, 200)
    shapes = [(1, 500), (500, 1), (2, 700), (3, 130), (640, 9), (1, 113), (1, 1)]
    shapes += [tuple(generator.choice(sides, 2)) for _ in range(40)]
    for height, width in shapes:
        for channels in (1, 3):
            shape = (channels, height, width)
            colour = generator.integers(0, 256, (channels, 1, 1), dtype=np.uint8)
            yield np.broadcast_to(colour, shape).copy()
            yield generator.integers(0, 256, shape, dtype=np.uint8)
            image = np.broadcast_to(colour, shape).copy()
            top, left = generator.integers(height), generator.integers(width)
            image[:, top : top + 1 + height // 2, left : left + 1 + width // 2] = 255 - colour
            yield image
            image = image // 8 * 8 + generator.integers(0, 8, shape, dtype=np.uint8)
            yield image
    for value in (0, 25, 26, 128, 229, 230, 255):
        for shape in ((1, 1, 1), (3, 28, 28), (1, 300, 200), (3, 113, 113)):
            yield np.full(shape, value, np.uint8)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("net", ["is missing", "finds one pixel", "finds everything"])
def test_any_picture_is_prepared(net, monkeypatch):
    def found(picture: np.ndarray) -> np.ndarray:
        everything = np.ones(picture.shape[1:], bool)
        one_pixel = np.zeros_like(everything)
        one_pixel[-1, 0] = True
        return everything if net == "finds everything" else one_pixel

    if net != "is missing":
        monkeypatch.setattr(preparation, "cut_out", found)
    treatments = set()
    for image in odd_pictures():
        prepared = prepare(image)
        treatments.add(prepared.treatment)
        assert prepared.pixels.dtype == np.uint8
        if prepared.treatment == AS_IT_IS:
            assert prepared.colour is None
            assert np.array_equal(prepared.pixels, align_foreground(image))
        else:
            assert prepared.pixels.shape == (1, 28, 28)
            assert prepared.colour.dtype == np.uint8
            assert prepared.colour.ndim == 3
            assert len(prepared.colour) == 3
            assert prepared.colour.shape[1] == prepared.colour.shape[2] >= 1
    assert treatments - {CUT_OUT} == {AS_IT_IS, PLAIN_GROUND}
    assert (CUT_OUT in treatments) == (net != "is missing")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", PREPARATIONS)
def test_smallest_pictures_are_prepared(name):
    for height in range(1, 6):
        for width in range(1, 6):
            for channels in (1, 3):
                prepared = get_preparation(name)(noise(channels, height, width, seed=height))
                assert prepared.dtype == np.uint8
                assert prepared.size
