"""The clothing photos by Alexey Grigorev and others: CC0, ten classes, downloaded when needed."""

from typing import Any

from fashion_transfer.data.git_archive import download_folder
from fashion_transfer.data.image_folder import ImageFolderDataModule
from fashion_transfer.errors import FashionTransferError

COMMIT = "11961516512414bf9f6c150a832cfd21b54a6b54"
URL = f"https://github.com/alexeygrigorev/clothing-dataset-small/archive/{COMMIT}.tar.gz"
TREE = "78b24042178f02d2ec37cee1dbd23d73857fa539"
"""Git's hash of the content of that commit."""

CLASS_NAMES = (
    "dress",
    "hat",
    "longsleeve",
    "outwear",
    "pants",
    "shirt",
    "shoes",
    "shorts",
    "skirt",
    "t-shirt",
)


class ClothingDataModule(ImageFolderDataModule):
    """3,781 photos of clothes, taken by phone: 3,068 training, 341 validation, 372 test.

    Grigorev and 32 contributors 2020, "Clothing dataset (subset)", CC0 1.0,
    github.com/alexeygrigorev/clothing-dataset-small.

    Args:
        dir: the folder with `train`, `validation` and `test`; they are downloaded into it if it
            does not exist or is empty.
        **options: of `ImageFolderDataModule`.

    Raises:
        ArgumentError: a value is not possible.
        FashionTransferError: the photos are neither there nor can be downloaded, or are others.
    """

    def __init__(self, dir: str = "data/clothing", **options: Any) -> None:
        super().__init__(dir, **options)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the ten classes, by label, whether the photos are there yet or not."""
        return CLASS_NAMES

    def prepare_data(self) -> None:
        """Downloads the photos if they are not there, then lists and checks them."""
        download_folder(URL, TREE, self.dir)
        if super().class_names != CLASS_NAMES:
            raise FashionTransferError(
                f"{self.dir} holds the classes {', '.join(super().class_names)}, expected "
                f"{', '.join(CLASS_NAMES)}: is this another data set?"
            )
        super().prepare_data()
