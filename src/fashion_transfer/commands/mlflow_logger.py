"""Lightning's logger of MLflow, for classes of any name and for runs that begin at once."""

import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import lightning.pytorch.loggers as lightning
from filelock import FileLock
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only

from fashion_transfer.errors import FashionTransferError

FILE = "sqlite:///"


class MLFlowLogger(lightning.MLFlowLogger):
    """Logs as Lightning's, but for two things.

    The names of metrics stay as they are. Lightning takes out what is not ASCII, though MLflow does
    not mind it: metrics of two classes could share a name, or have none.

    Runs that begin at once open a database in a file, which they may have to create, one by one.
    """

    def __init__(
        self, experiment_name: str, tracking_uri: str | None = None, **options: Any
    ) -> None:
        of_file = (tracking_uri or "").startswith(FILE)
        if of_file and not set("%?#").isdisjoint(str(tracking_uri)):
            raise FashionTransferError(
                f"MLflow takes {tracking_uri} for an address, in which %, ? and # mean something "
                "else: give another paths.logs"
            )
        self.lock = FileLock(f"{tracking_uri}.lock".removeprefix(FILE)) if of_file else None
        with self.lock or nullcontext():
            super().__init__(experiment_name, tracking_uri=tracking_uri, **options)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """MLflow's client."""
        with nullcontext() if self._initialized or self.lock is None else self.lock:
            return super().experiment

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs numbers by name."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        values = [Metric(name, value, now, step or 0) for name, value in metrics.items()]
        self.experiment.log_batch(self.run_id, values)
