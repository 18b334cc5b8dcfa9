"""Images rendered from photos when they are read, each by its content key."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fashion_transfer.data.batch import Split
from fashion_transfer.data.photos import map_in_threads
from fashion_transfer.synthetic.collage_pixels import is_needed, render_collage, square_photo
from fashion_transfer.synthetic.layouts import COLLAGE_LAYOUTS
from fashion_transfer.synthetic.out_of_distribution import ood_images

PATCHED_SIZE = 224
"""Height and width of photos whose patches are shuffled, pixels."""


class KeyedImages:
    """Images by content key, rendered when they are read.

    Args:
        keys: int64, (N,), of the images, each once.
        render: gives the image at a position in `keys`: uint8, (3, S, S).
    """

    def __init__(self, keys: np.ndarray, render: Callable[[int], np.ndarray]) -> None:
        self._positions = {key: position for position, key in enumerate(keys.tolist())}
        self._render = render

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, key: int, /) -> np.ndarray:
        """Returns one image, uint8, (3, S, S).

        Raises:
            KeyError: there is no image of this key.
        """
        return self._render(self._positions[int(key)])

    def __getitems__(self, keys: Sequence[int] | np.ndarray) -> list[np.ndarray]:
        """Returns images, rendered side by side."""
        return map_in_threads(self.__getitem__, keys)


@dataclass(frozen=True, eq=False)
class Collages:
    """Renders collages, or their controls, by position; the layouts take turns.

    Args:
        source: of the photos.
        layouts: names in `COLLAGE_LAYOUTS`.
        items: int64, (N, K), rows of the source, lowest first; a layout of fewer has the first.
        controls: int64, (N,), the place in `items` of the one photo to show; None: all are shown.
    """

    source: Split
    layouts: tuple[str, ...]
    items: np.ndarray
    controls: np.ndarray | None

    def __call__(self, position: int) -> np.ndarray:
        """Returns one image, uint8, (3, S, S)."""
        number, index = divmod(position, len(self.layouts))
        layout = self.layouts[index]
        control = None if self.controls is None else int(self.controls[position])
        slots = range(len(COLLAGE_LAYOUTS[layout].cells))
        needed = [slot for slot in slots if is_needed(layout, slot, control)]
        read = dict(zip(needed, self.source.read(self.items[position, needed]), strict=True))
        return render_collage([read.get(slot) for slot in slots], layout, number, control=control)


@dataclass(frozen=True, eq=False)
class ShuffledPatches:
    """Renders the central square of a photo, its patches in random order, by position.

    Args:
        source: of the photos.
        items: int64, (N,), rows of the source.
        numbers: int64, (N,), of the permutations.
    """

    source: Split
    items: np.ndarray
    numbers: np.ndarray

    def __call__(self, position: int) -> np.ndarray:
        """Returns one image, uint8, (3, S, S), S = `PATCHED_SIZE`."""
        one = slice(position, position + 1)
        square = square_photo(self.source.read(self.items[one])[0], PATCHED_SIZE)
        # By channel: the same number moves the patches of each in the same way.
        return np.concatenate(
            [ood_images("shuffled_patches", self.numbers[one], images=c[None]) for c in square]
        )
