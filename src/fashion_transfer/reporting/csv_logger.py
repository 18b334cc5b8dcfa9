"""Lightning's CSV logger, whose table is whole at any moment."""

import shutil
from pathlib import Path

from lightning.pytorch import loggers
from lightning.pytorch.utilities import rank_zero_only

from fashion_transfer.files import atomic_path


class CSVLogger(loggers.CSVLogger):
    """Writes `metrics.csv` whole or not at all; arguments as Lightning's.

    Lightning's own empties the file to add a column: on a full disk all curves are lost.
    """

    @rank_zero_only
    def save(self) -> None:
        """Adds what was logged since it was called last."""
        writer = self.experiment
        if not writer.metrics:
            return
        file, columns = Path(writer.metrics_file_path), list(writer.metrics_keys)
        with atomic_path(file) as temporary:
            if file.is_file():
                shutil.copyfile(file, temporary)
            writer.metrics_file_path = str(temporary)
            try:
                super().save()
            except OSError:
                writer.metrics_keys = columns  # those of the file
                raise
            finally:
                writer.metrics_file_path = str(file)
