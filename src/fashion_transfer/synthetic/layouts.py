"""Layouts: where the items of a composite lie, how large they are and how far they rotate."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Cell = tuple[float, float, float, float]
"""Left, top, right and bottom of a part of the canvas, in fractions of the canvas."""


@dataclass(frozen=True)
class Layout:
    """An arrangement of items on a square canvas.

    Attributes:
        canvas: height and width of the composite, pixels.
        cells: where each item may lie, lowest item first. All cells together are mirrored at
            random, each axis independently. Items overlap where their cells do: `grid(1) * K`
            gives each of K items the whole canvas, which scatters them.
        classes: whether the items are of "different" classes, of the "same" class or of "any".
        size: range of an item's size, as a fraction of the largest that fits its cell. The item
            lies at a random place in the cell, never cut off.
        rotation: maximum rotation of an item, degrees, uniform to both sides.
    """

    canvas: int
    cells: tuple[Cell, ...]
    classes: Literal["different", "same", "any"]
    size: tuple[float, float] = (0.75, 1.0)
    rotation: float = 10.0


def grid(columns: int, rows: int = 1) -> tuple[Cell, ...]:
    """Divides the canvas into equal cells, row by row."""
    return tuple(
        (x / columns, y / rows, (x + 1) / columns, (y + 1) / rows)
        for y, x in np.ndindex(rows, columns)
    )


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
    "diagonal": Layout(42, grid(2, 2)[::3], "different", (0.85, 1.0)),
    "same_stacked": Layout(28, grid(1, 2), "same"),
    "crossed": Layout(84, grid(1) * 2, "different", (0.55, 0.75), 40),
    "unequal": Layout(56, ((0, 0, 0.625, 1), (0.625, 0.5, 1, 1)), "different", (0.85, 1.0)),
    "row_of_three": Layout(84, grid(3), "different"),
    "quincunx": Layout(84, grid(3, 3)[::2], "any", (0.8, 1.0)),
}
"""All layouts by name. The name seeds the draws, so a new layout changes no other's composites."""

HELD_OUT_LAYOUTS = ("diagonal", "same_stacked", "crossed", "unequal", "row_of_three", "quincunx")
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
