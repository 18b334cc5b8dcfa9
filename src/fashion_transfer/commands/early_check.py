"""The check of a training run that needs no torch, whose import takes seconds."""

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from fashion_transfer.commands.errors import explain
from fashion_transfer.commands.schema import check_values
from fashion_transfer.runs.record import RECORD, new_record, recording


def check_early(cfg: DictConfig) -> None:
    """Checks all values; the run is recorded as failed unless its folder has a record already.

    Raises:
        FashionTransferError: a key is unknown, or a value is not possible.
    """
    try:
        check_values(cfg)
    except Exception as error:
        folder = Path(HydraConfig.get().runtime.output_dir)
        if (folder / RECORD).is_file():
            raise
        with recording(new_record(folder, cfg), lambda error: explain(error) or repr(error)):
            raise error
