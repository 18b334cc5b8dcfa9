"""The pixels of collages and of their controls, as people make collages on their phones."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple
from zlib import crc32

import numpy as np
from PIL import Image

from fashion_transfer.synthetic.layouts import COLLAGE_LAYOUTS, Layout, grid

VERSION = 1
"""Raised with every change of pixels; part of the content key of what is rendered."""

MIN_VISIBLE = 0.6
"""Minimum fraction of a photo that cropping and the photos above it leave visible."""

MIN_CROP = 0.75
"""Minimum fraction that cropping leaves of a photo which others overlap."""

MAX_GAP = 0.04
"""Maximum gap between cells, as a fraction of the canvas."""

ATTEMPTS = 16
"""Random places tried for each photo in turn, to leave as much visible."""

ROUNDS = 8
"""Times that this is tried from the lowest photo on, before all get cells of their own."""

FALLBACK_SIZE = (0.75, 1.0)
"""Range of a photo's size in a cell of its own, as a fraction of the largest that fits."""

SAMPLES = 32
"""Points per axis of a photo that are tested for being visible."""

WHITE, BLACK, GREY = 0.4, 0.55, 0.7
"""Cumulative probabilities of a white, black or grey canvas; the others have a random colour."""


class _Placed(NamedTuple):
    """Where K photos lie: centres (K, 2), sizes (K, 2) and crops (K, 2), as x, y; angles (K,).

    Centres and sizes are in pixels of the canvas, crops in those of the photo, about its centre;
    angles are in degrees, clockwise on the screen.
    """

    centres: np.ndarray
    sizes: np.ndarray
    crops: np.ndarray
    angles: np.ndarray


def render_collage(
    photos: Sequence[np.ndarray | None],
    layout: str,
    number: int,
    seed: int = 0,
    control: int | None = None,
) -> np.ndarray:
    """Returns a collage, or its control: uint8, (3, S, S), S the layout's canvas.

    Collages are filled in one of two ways, drawn for each: every photo whole, at a random size and
    place in its cell, or cropped about its centre to fill its cell, unless less than `MIN_VISIBLE`
    of it would be left. Photos that overlap are whole.

    Args:
        photos: uint8, (1 or 3, h, w) each, of any size, lowest first. One that is not needed (see
            `is_needed`) may be None.
        layout: name in `COLLAGE_LAYOUTS`.
        number: of the collage, from 0. The result depends on no other collage.
        seed: of all draws.
        control: the one photo to show, by its place in `photos`, exactly where and as it lies in
            the collage; None: all.
    """
    plan = COLLAGE_LAYOUTS[layout]
    # Counter-based (Salmon et al. 2011): collage i needs no state of those before it.
    philox = np.random.Philox(counter=[0, 0, 0, number], key=[seed, crc32(layout.encode())])
    generator = np.random.Generator(philox)
    canvas = Image.new("RGB", (plan.canvas, plan.canvas), _colour(generator.random(5)))
    sizes = [(1, 1) if photo is None else photo.shape[:0:-1] for photo in photos]
    count = len(plan.cells)
    draws = generator.random(5 + 2 * count), generator.random((ROUNDS, ATTEMPTS, count, 2))
    placed = _place(plan, np.array(sizes, float), *draws)
    for slot in range(count) if control is None else (control,):
        photo = photos[slot]
        assert photo is not None, "the photo that is shown is needed"
        _paste(canvas, photo, *(part[slot] for part in placed))
    return _to_array(canvas)


def is_needed(layout: str, slot: int, control: int | None) -> bool:
    """Returns whether `render_collage` needs a photo: for a control, the others may not matter.

    Where cells do not overlap, the place of a photo does not depend on the others.
    """
    return control in (None, slot) or not _is_tiled(_cells(COLLAGE_LAYOUTS[layout]))


def square_photo(photo: np.ndarray, side: int) -> np.ndarray:
    """Returns the central square of a photo, resized: uint8, (3, side, side).

    Args:
        photo: uint8, (1 or 3, h, w).
        side: of the result, pixels.
    """
    crop = np.full(2, float(min(photo.shape[1:])))
    return _to_array(_resized(photo, crop, (side, side)))


def _cells(plan: Layout) -> np.ndarray:
    return np.array(plan.cells).reshape(-1, 2, 2)  # (K, low or high, x or y)


def _is_tiled(cells: np.ndarray) -> bool:
    """Whether no two cells overlap."""
    low, high = cells[:, 0], cells[:, 1]
    shared = np.minimum(high[:, None], high) - np.maximum(low[:, None], low) > 1e-9
    return int(shared.all(2).sum()) == len(cells)  # each overlaps itself


def _place(plan: Layout, photos: np.ndarray, draws: np.ndarray, positions: np.ndarray) -> _Placed:
    """Where photos of some sizes, (K, 2), lie.

    Args:
        plan: the layout.
        photos: widths and heights.
        draws: (5 + 2 K,), uniform: gap, border, fill, mirroring, sizes, rotations.
        positions: (ROUNDS, ATTEMPTS, K, 2), uniform.
    """
    count = len(plan.cells)
    gap, border, fill, *_ = draws
    mirror, size, turn = np.split(draws[3:], np.cumsum([2, count]))
    cells = _cells(plan)
    cells = np.where(mirror < 0.5, 1 - cells[:, ::-1], cells)
    tiled = _is_tiled(cells)
    if tiled:
        cells = _with_gaps(cells, MAX_GAP * gap, border < 0.5)
    cells = np.round(cells * plan.canvas)
    low, room = cells[:, 0], cells[:, 1] - cells[:, 0]
    covered = np.full(count, tiled and fill < 0.5)
    covered[0] |= not tiled and bool((room[1:] < room[0]).all())  # it holds the cells above it
    crops = np.where(covered[:, None], _crops(photos, room, tiled), photos)
    angles = plan.rotation * (2 * turn - 1)
    cos, sin = np.cos(np.radians(angles)), np.sin(np.radians(angles))
    reach = np.abs(np.stack([cos, sin, sin, cos], -1)).reshape(count, 2, 2)
    largest = (room / (reach @ crops[..., None])[..., 0]).min(1)
    scales = largest * np.where(covered, 1, plan.size[0] + (plan.size[1] - plan.size[0]) * size)
    sizes = np.maximum(np.round(crops * scales[:, None]), 1)
    boxes = (reach @ sizes[..., None])[..., 0]
    centres = low + boxes / 2 + (room - boxes) * positions
    if tiled:
        return _Placed(centres[0, 0], sizes, crops, angles)
    for candidates in centres:
        chosen = _choose_centres(candidates, sizes, angles, (crops / photos).prod(1))
        if chosen is not None:
            return _Placed(chosen, sizes, crops, angles)
    plan = replace(plan, cells=grid(2, (count + 1) // 2)[:count], size=FALLBACK_SIZE)
    return _place(plan, photos, draws, positions)


def _choose_centres(
    candidates: np.ndarray, sizes: np.ndarray, angles: np.ndarray, cropped: np.ndarray
) -> np.ndarray | None:
    """The first candidates, lowest photo first, that leave enough of the photos below visible.

    Args:
        candidates: (ATTEMPTS, K, 2), centres.
        sizes: (K, 2), of the cropped photos.
        angles: (K,), degrees.
        cropped: (K,), fraction that cropping leaves of each.

    Returns:
        Centres (K, 2); None if for some photo no candidate does.
    """
    steps = (np.arange(SAMPLES) + 0.5) / SAMPLES - 0.5
    samples = np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2)
    radians = np.radians(angles)
    turns = np.stack([np.cos(radians), -np.sin(radians), np.sin(radians), np.cos(radians)], -1)
    turns = turns.reshape(-1, 2, 2)
    chosen = np.empty_like(sizes)
    points = np.empty((len(sizes), len(samples), 2))  # of each photo, on the canvas
    hidden = np.zeros(points.shape[:2], bool)
    for upper, size in enumerate(sizes):
        for centre in candidates[:, upper]:
            inside = np.abs((points[:upper] - centre) @ turns[upper]) <= size / 2
            covered = hidden[:upper] | inside.all(-1)
            if ((1 - covered.mean(1)) * cropped[:upper] >= MIN_VISIBLE).all():
                break
        else:
            return None
        chosen[upper], hidden[:upper] = centre, covered
        points[upper] = samples * size @ turns[upper].T + centre
    return chosen


def _with_gaps(cells: np.ndarray, gap: float, border: bool) -> np.ndarray:
    """Cells with a gap between neighbours, and as wide a border around all or none."""
    low, high = cells[:, :1], cells[:, 1:]
    if border:
        return np.concatenate([gap + low * (1 - gap), high * (1 - gap)], 1)
    return np.concatenate([low * (1 + gap), high * (1 + gap) - gap], 1)


def _crops(photos: np.ndarray, room: np.ndarray, tiled: bool) -> np.ndarray:
    """Sizes (K, 2) of the largest parts of photos that have the shapes of their cells.

    Where these would leave too little of a photo, the part has the nearest shape that does not.
    """
    minimum = MIN_VISIBLE if tiled else MIN_CROP
    shape = photos[:, 0] / photos[:, 1]
    wanted = np.clip(room[:, 0] / room[:, 1], shape * minimum, shape / minimum)
    return np.stack(
        [
            np.minimum(photos[:, 0], photos[:, 1] * wanted),
            np.minimum(photos[:, 1], photos[:, 0] / wanted),
        ],
        1,
    )


def _paste(
    canvas: Image.Image,
    photo: np.ndarray,
    centre: np.ndarray,
    size: np.ndarray,
    crop: np.ndarray,
    angle: float,
) -> None:
    image = _resized(photo, crop, (int(size[0]), int(size[1])))
    mask = Image.new("L", image.size, 255)
    if angle:
        # Beyond its edge the photo goes on, so that the colour of its border does not change.
        pixels = np.pad(np.asarray(image), ((2, 2), (2, 2), (0, 0)), "edge")
        mask = Image.fromarray(np.pad(np.asarray(mask), 2))
        mask = mask.rotate(-angle, Image.Resampling.BILINEAR, expand=True)
        fill = tuple(pixels.mean((0, 1)).astype(int).tolist())
        image = Image.fromarray(pixels)
        image = image.rotate(-angle, Image.Resampling.BICUBIC, expand=True, fillcolor=fill)
    corner = np.round(centre - np.array(image.size) / 2).astype(int)
    canvas.paste(image, (int(corner[0]), int(corner[1])), mask)


def _resized(photo: np.ndarray, crop: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """The central part of a photo, `crop` pixels wide and high, resized without aliasing."""
    image = Image.merge(
        "RGB", [Image.fromarray(photo[channel % len(photo)]) for channel in range(3)]
    )
    margin = (np.array(image.size) - crop) / 2
    low, high = margin.clip(min=0), np.minimum(margin + crop, image.size)
    # A whole reduction first is much faster for large photos, and makes no visible difference.
    return image.resize(
        size, Image.Resampling.BICUBIC, (*low.tolist(), *high.tolist()), reducing_gap=3.0
    )


def _to_array(image: Image.Image) -> np.ndarray:
    return np.stack([np.asarray(channel) for channel in image.split()])


def _colour(draws: np.ndarray) -> tuple[int, int, int]:
    """The colour of the canvas, by five uniform draws."""
    choice, grey, *colour = draws.tolist()
    if choice < WHITE:
        return (255, 255, 255)
    if choice < BLACK:
        return (0, 0, 0)
    levels = [32 + 192 * grey] * 3 if choice < GREY else [255 * level for level in colour]
    return (round(levels[0]), round(levels[1]), round(levels[2]))
