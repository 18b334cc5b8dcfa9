"""Layouts: where the items of a composite lie, how large they are and how far they rotate."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Cell = tuple[float, float, float, float]
"""Left, top, right and bottom of a part of the canvas, in fractions of the canvas."""

MIN_CONTROL = 10
"""Minimum longer side of a control's cell, pixels: nobody recognises a shoe of 8 by itself."""

Role = tuple[int, ...]
"""What an item is worn as: the labels that do, as Fashion-MNIST counts its classes.

Only outfits know these labels. In a data set without any of them, an item is of any class.
"""

TOP: Role = (0, 2, 4, 6)  # T-shirt/top, pullover, coat, shirt
COAT: Role = (4,)
TROUSERS: Role = (1,)
DRESS: Role = (3,)
SHOE: Role = (5, 7, 9)  # sandal, sneaker, ankle boot
BAG: Role = (8,)


@dataclass(frozen=True)
class Layout:
    """An arrangement of items on a square canvas.

    Attributes:
        canvas: height and width of the composite, pixels.
        cells: where each item may lie, lowest item first. All cells together are mirrored at
            random, each axis independently. Items overlap where their cells do: `grid(1) * K`
            gives each of K items the whole canvas, which scatters them.
        classes: whether the items are of "different" classes, of the "same" class or of "any"; or
            the role of each item in an outfit. Neighbours in one role are a pair, of one class.
        size: range of an item's size, as a fraction of the largest that fits its cell. The item
            lies at a random place in the cell, never cut off.
        rotation: maximum rotation of an item, degrees, uniform to both sides.
    """

    canvas: int
    cells: tuple[Cell, ...]
    classes: Literal["different", "same", "any"] | tuple[Role, ...]
    size: tuple[float, float] = (0.75, 1.0)
    rotation: float = 10.0

    @property
    def is_outfit(self) -> bool:
        """Whether the items lie as someone wears them.

        They are near the middle of their cells, so that they meet, and never upside down: the cells
        are mirrored from left to right alone.
        """
        return not isinstance(self.classes, str)

    @property
    def control_cells(self) -> tuple[int, ...]:
        """Cells of which a control shows the item: those of `MIN_CONTROL` pixels, else all."""
        sides = [max(x1 - x0, y1 - y0) * self.canvas for x0, y0, x1, y1 in self.cells]
        large = tuple(index for index, side in enumerate(sides) if side >= MIN_CONTROL)
        return large or tuple(range(len(self.cells)))


def grid(columns: int, rows: int = 1) -> tuple[Cell, ...]:
    """Divides the canvas into equal cells, row by row."""
    return tuple(
        (x / columns, y / rows, (x + 1) / columns, (y + 1) / rows)
        for y, x in np.ndindex(rows, columns)
    )


def _outfit(canvas: int, *worn: tuple[Role, Cell]) -> Layout:
    roles, cells = zip(*worn, strict=True)
    return Layout(canvas, cells, roles, (0.88, 1.0), 4)


LAYOUTS: dict[str, Layout] = {
    "side_by_side": Layout(28, grid(2), "different"),
    "stacked": Layout(42, grid(1, 2), "different"),
    "overlapping": Layout(28, grid(1) * 2, "different", (0.55, 0.75), 15),
    "same_side_by_side": Layout(42, grid(2), "same"),
    "same_overlapping": Layout(56, grid(1) * 2, "same", (0.55, 0.75), 15),
    "triangle": Layout(42, ((0.25, 0, 0.75, 0.5), *grid(2, 2)[2:]), "any"),
    "square_of_four": Layout(28, grid(2, 2), "any", (0.8, 1.0)),
    "scatter_of_two": Layout(42, grid(1) * 2, "any", (0.45, 0.7), 20),
    "scatter_of_three": Layout(56, grid(1) * 3, "any", (0.35, 0.55), 20),
    "scatter_of_four": Layout(84, grid(1) * 4, "any", (0.25, 0.5), 20),
    "worn_top_trousers": _outfit(
        28,
        (TROUSERS, (0.2, 0.36, 0.8, 1)),
        (TOP, (0.1, 0, 0.9, 0.48)),
    ),
    "worn_dress_bag": _outfit(
        28,
        (DRESS, (0.1, 0, 0.74, 1)),
        (BAG, (0.5, 0.36, 0.9, 0.76)),
    ),
    "worn_top_trousers_shoes": _outfit(
        28,
        (SHOE, (0.21, 0.8, 0.51, 1)),
        (SHOE, (0.49, 0.8, 0.79, 1)),
        (TOP, (0.1, 0, 0.9, 0.46)),
        (TROUSERS, (0.2, 0.36, 0.8, 0.88)),
    ),
    "worn_top_shoes": _outfit(
        28,
        (TOP, (0.12, 0, 0.88, 0.86)),
        (SHOE, (0.17, 0.76, 0.5, 1)),
        (SHOE, (0.5, 0.76, 0.83, 1)),
    ),
    "diagonal": Layout(42, grid(2, 2)[::3], "different", (0.85, 1.0)),
    "same_stacked": Layout(28, grid(1, 2), "same"),
    "crossed": Layout(84, grid(1) * 2, "different", (0.55, 0.75), 40),
    "unequal": Layout(56, ((0, 0, 0.625, 1), (0.625, 0.5, 1, 1)), "different", (0.85, 1.0)),
    "row_of_three": Layout(84, grid(3), "different"),
    "quincunx": Layout(84, grid(3, 3)[::2], "any", (0.8, 1.0)),
    "worn_top_trousers_bag": _outfit(
        28,
        (TROUSERS, (0.1, 0.36, 0.7, 1)),
        (TOP, (0, 0, 0.8, 0.48)),
        (BAG, (0.49, 0.34, 0.87, 0.72)),
    ),
    "worn_dress_shoes": _outfit(
        28,
        (DRESS, (0.2, 0, 0.8, 0.88)),
        (SHOE, (0.21, 0.74, 0.51, 1)),
        (SHOE, (0.49, 0.74, 0.79, 1)),
    ),
    "worn_trousers_shoes": _outfit(
        28,
        (SHOE, (0.15, 0.72, 0.5, 1)),
        (SHOE, (0.5, 0.72, 0.85, 1)),
        (TROUSERS, (0.2, 0, 0.8, 0.84)),
    ),
    "worn_coat_trousers_shoes_bag": _outfit(
        84,
        (SHOE, (0.17, 0.8, 0.45, 1)),
        (SHOE, (0.43, 0.8, 0.71, 1)),
        (TROUSERS, (0.15, 0.4, 0.75, 0.88)),
        (COAT, (0, 0, 0.9, 0.54)),
        (BAG, (0.53, 0.34, 0.85, 0.66)),
    ),
    "worn_by_two_people": _outfit(
        56,
        (TROUSERS, (0.07, 0.36, 0.47, 1)),
        (TOP, (0, 0, 0.52, 0.48)),
        (TROUSERS, (0.53, 0.36, 0.93, 1)),
        (TOP, (0.48, 0, 1, 0.48)),
    ),
}
"""All layouts by name. The name seeds the draws, so a new layout changes no other's composites."""

HELD_OUT_LAYOUTS = (
    "diagonal",
    "same_stacked",
    "crossed",
    "unequal",
    "row_of_three",
    "quincunx",
    "worn_top_trousers_bag",
    "worn_dress_shoes",
    "worn_trousers_shoes",
    "worn_coat_trousers_shoes_bag",
    "worn_by_two_people",
)
"""Layouts for evaluation only: they measure generalisation to arrangements never trained on."""

TRAINED_LAYOUTS = tuple(name for name in LAYOUTS if name not in HELD_OUT_LAYOUTS)
"""Layouts of the composites and controls that a classifier is trained on."""

COLLAGE_LAYOUTS: dict[str, Layout] = {
    "two_columns": Layout(448, grid(2), "different", rotation=0),
    "two_rows": Layout(448, grid(1, 2), "different", rotation=0),
    "two_overlapping": Layout(448, grid(1) * 2, "different", (0.55, 0.75), 15),
    "one_large_two_small": Layout(
        448,
        ((0, 0, 2 / 3, 1), (2 / 3, 0, 1, 0.5), (2 / 3, 0.5, 1, 1)),
        "any",
        (0.85, 1.0),
        0,
    ),
    "pile_of_three": Layout(448, grid(1) * 3, "any", (0.45, 0.65), 20),
    "same_two_columns": Layout(448, grid(2), "same", rotation=0),
    "three_of_four": Layout(448, grid(2, 2)[:3], "any", (0.7, 1.0), 0),
    "two_scattered": Layout(448, grid(1) * 2, "any", (0.35, 0.55), 5),
    "four_quarters": Layout(448, grid(2, 2), "any", (0.8, 1.0), 0),
    "three_columns": Layout(448, grid(3), "different", (0.85, 1.0), 0),
    "inset": Layout(448, (*grid(1), (0.54, 0.54, 0.98, 0.98)), "different", (0.69, 1.0), 0),
    "two_diagonal": Layout(448, grid(2, 2)[::3], "different", (0.8, 1.0), 0),
    "pile_of_four": Layout(448, grid(1) * 4, "any", (0.4, 0.6), 30),
}
"""Layouts of collages, which are composites of photos; no name is in `LAYOUTS` too.

Between cells that do not overlap there is a gap. A cell that holds another is filled by its photo.
"""

HELD_OUT_COLLAGES = ("four_quarters", "three_columns", "inset", "two_diagonal", "pile_of_four")
"""Layouts of collages for evaluation only."""

TRAINED_COLLAGES = tuple(name for name in COLLAGE_LAYOUTS if name not in HELD_OUT_COLLAGES)
"""Layouts of the collages and their controls that a classifier is trained on."""
