"""What Hydra writes: the log of a run, and `.hydra/`. Imports no torch."""

import logging
import sys
from contextlib import suppress
from pathlib import Path

from hydra.core import utils
from omegaconf import DictConfig, OmegaConf

from fashion_transfer.files import write_text


class LogFile(logging.FileHandler):
    """A log file. A full disk costs lines of it, which is said once, and not the run."""

    incomplete = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Says that a line could not be written; other errors are reported as ever."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.incomplete:
            self.incomplete = True
            print(f"{self.baseFilename} lacks what follows here ({error.strerror})", flush=True)

    def close(self) -> None:
        """Closes the file, whole or not."""
        with suppress(OSError):
            super().close()


def save_configs_atomically() -> None:
    """Has Hydra write the files of `.hydra/` whole or not at all.

    A run that is continued writes them anew, and reads them the next time.
    """

    def save(cfg: DictConfig, filename: str, output_dir: Path) -> None:
        output_dir.mkdir(parents=True, exist_ok=True)
        write_text(output_dir / filename, OmegaConf.to_yaml(cfg))

    utils._save_config = save
