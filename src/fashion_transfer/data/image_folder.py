"""A data set of one's own photos: a folder per class, or a CSV file that lists them."""

from functools import cached_property
from typing import Any, Literal

from fashion_transfer.data.batch import Split
from fashion_transfer.data.datamodule import ClassificationDataModule, SplitName
from fashion_transfer.data.folder_listing import Listing, list_photos
from fashion_transfer.data.photo_index import index_photos
from fashion_transfer.data.photo_splits import readable_photos, split_photos
from fashion_transfer.paths import user_path


class ImageFolderDataModule(ClassificationDataModule):
    """Photos of any size in a folder per class, in `train`, `validation` and `test` or alone.

    Without those three, the content of a photo decides its split: 80 % training, 10 % validation,
    10 % test. See `folder_listing.list_photos` for all that `dir` may be.

    Args:
        dir: the folder, or a CSV file with the columns `path`, `label` and, if wanted, `split`.
        images_per_class: maximum of training photos per class; "all": no maximum.
        strict: whether a file that cannot be read is an error; else it is skipped.
        cache: folder of cached features, where it is noted which picture a file holds; None: the
            default one.
        **options: of `ClassificationDataModule`.

    Raises:
        ArgumentError: a value is not possible.
        FashionTransferError: the photos are not there, or not as described.
    """

    preparation = "photo"

    def __init__(
        self,
        dir: str,
        images_per_class: int | Literal["all"] = "all",
        strict: bool = False,
        cache: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self.dir = user_path(str(dir))  # a folder 2024 is a number on the command line
        self.images_per_class = images_per_class
        self.strict = strict
        self.cache = cache

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, by label: those of the folders, sorted."""
        return self._listing.class_names

    def prepare_data(self) -> None:
        """Lists and checks the photos, and reads those that are new or changed."""
        self.load_split("train")

    def load_split(self, name: SplitName) -> Split | None:
        """The training, validation or test photos; None if there are none."""
        return self._splits.get(name)

    @cached_property
    def _listing(self) -> Listing:
        return list_photos(self.dir)

    @cached_property
    def _splits(self) -> dict[SplitName, Split]:
        names, photos = self._listing
        entries = index_photos([photo.path for photo in photos], self.dir, self.cache)
        readable = readable_photos(photos, entries, self.strict)
        return split_photos(Listing(names, readable), entries, self.images_per_class, self.seed)
