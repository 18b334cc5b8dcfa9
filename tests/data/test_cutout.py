"""The cut-out: what the net is shown, which parts of its answer count, and life without it."""

from types import SimpleNamespace

import numpy as np
import pytest
from drawn import SHIRT, TROUSERS, in_a_room, mask, noise, pixels
from scipy import ndimage

from fashion_transfer.data import cutout, onnx_session
from fashion_transfer.data.cutout import MEAN, MIN_PART, SALIENT, SIZE, STD, cut_out, saliency


class Options(SimpleNamespace):
    """Options of a session, as onnxruntime takes them."""

    def add_session_config_entry(self, name: str, value: str) -> None:
        setattr(self, name, value)


@pytest.fixture
def fake_net(monkeypatch):
    """`fake_net(scores)`: a net that finds these scores in any picture; returns its inputs."""

    def install(scores: np.ndarray) -> list[np.ndarray]:
        inputs = []

        class Session:
            def __init__(self, path, options, providers):
                pass

            def get_inputs(self):
                return [SimpleNamespace(name="input.1")]

            def run(self, names, given):
                inputs.append(given["input.1"])
                return [scores[None, None].astype(np.float32), None]

        onnxruntime = SimpleNamespace(SessionOptions=Options, InferenceSession=Session)
        monkeypatch.setattr(cutout, "why_missing", lambda: "")
        monkeypatch.setattr(onnx_session, "import_onnxruntime", lambda: onnxruntime)
        return inputs

    return install


def scores(*boxes: tuple[int, int, int, int], low: float = -3, high: float = 5) -> np.ndarray:
    """Scores of a net for pictures with items in some boxes: top, left, height, width."""
    found = np.full((SIZE, SIZE), low, np.float32)
    for top, left, height, width in boxes:
        found[top : top + height, left : left + width] = high
    return found


# The real net


@pytest.mark.real_net
def test_net_cuts_out_one_item(cutout_net):
    items = cut_out(pixels(in_a_room((SHIRT, (140, 80)))))
    expected = np.zeros((360, 480), bool)
    expected[80:280, 140:340] = np.asarray(mask()) > 127
    assert (items & expected).sum() / (items | expected).sum() > 0.9


@pytest.mark.real_net
def test_net_leaves_two_separate_items_two(cutout_net):
    items = cut_out(pixels(in_a_room((SHIRT, (20, 80)), (TROUSERS, (260, 80)))))
    assert ndimage.label(items)[1] == 2
    left, right = items[:, :240].sum(), items[:, 240:].sum()
    assert 0.5 < left / right < 2


@pytest.mark.real_net
def test_net_takes_pictures_of_any_size(cutout_net):
    for shape in ((1, 1), (500, 1), (90, 640)):
        items = cut_out(noise(3, *shape))
        assert items is None or items.shape == shape


# Without the net


def test_missing_net_is_logged_once_with_what_to_do(caplog):
    assert [cut_out(noise(3, 20, 30, seed=seed)) for seed in range(3)] == [None] * 3
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert "make cutout" in record.message
    assert "plain ground" in record.message


# Its input


def test_net_is_shown_the_whole_picture_as_it_was_trained(fake_net):
    inputs = fake_net(scores())
    image = noise(3, 90, 40)
    image[0, 0, 0] = 200
    saliency((image // 2).astype(np.uint8))
    [given] = inputs
    assert given.shape == (1, 3, SIZE, SIZE)
    assert given.dtype == np.float32
    # By its own maximum, then by ImageNet's mean and deviation.
    plain = given[0] * STD[:, None, None] + MEAN[:, None, None]
    assert plain.max() == pytest.approx(1, abs=1e-5)
    assert plain.min() >= -1e-5


def test_black_picture_is_shown_as_black(fake_net):
    inputs = fake_net(scores())
    saliency(np.zeros((3, 8, 8), np.uint8))
    [given] = inputs
    assert np.allclose(given[0], (-MEAN / STD)[:, None, None])


# What it finds


def test_scores_are_stretched_from_0_to_1(fake_net):
    fake_net(scores((50, 60, 70, 80), low=-2, high=7))
    found = saliency(noise(3, 30, 30))
    assert found.dtype == np.float32
    assert (found.min(), found.max()) == (0, 1)


def test_net_that_finds_nothing_gives_none(fake_net):
    fake_net(scores())
    assert cut_out(noise(3, 30, 30)) is None
    assert cutout.mask(noise(3, 30, 30)) is None


@pytest.mark.parametrize("shape", [(320, 320), (100, 200), (33, 500), (1, 7)])
def test_mask_has_the_size_of_the_picture(fake_net, shape):
    fake_net(scores((80, 80, 160, 160)))
    opacity = cutout.mask(noise(3, *shape))
    assert opacity.shape == shape
    assert opacity.dtype == np.float32
    assert opacity.min() >= 0
    assert opacity.max() <= 1
    items = cut_out(noise(3, *shape))
    assert np.array_equal(items, opacity >= SALIENT)
    assert items.mean() == pytest.approx(0.25, abs=0.1) or min(shape) == 1


def test_parts_from_a_tenth_of_the_largest_on_are_items(fake_net):
    large, enough = (20, 20, 100, 100), (200, 20, 40, 25)
    fake_net(scores(large, enough, (200, 200, 40, 24)))
    items = cut_out(noise(3, SIZE, SIZE))
    assert MIN_PART == 0.1
    assert ndimage.label(items)[1] == 2
    assert items[220, 30]
    assert not items[220, 210]


def test_holes_belong_to_their_item(fake_net):
    found = scores((50, 50, 200, 200))
    found[120:150, 120:150] = -3
    fake_net(found)
    items = cut_out(noise(3, SIZE, SIZE))
    assert items[135, 135]
    assert items.sum() == 200 * 200


def test_edge_of_a_mask_is_soft_and_far_from_items_it_is_what_the_net_gave(fake_net):
    found = scores((100, 100, 100, 100), low=0, high=1)
    found[99, 100:200] = 0.4
    found[10:14, 10:14] = 0.9  # too small for an item
    fake_net(found)
    opacity = cutout.mask(noise(3, SIZE, SIZE))
    assert opacity[99, 150] == pytest.approx(0.4)
    assert opacity[12, 12] <= SALIENT
    assert not cut_out(noise(3, SIZE, SIZE))[12, 12]
