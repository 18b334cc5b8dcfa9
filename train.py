"""Trains a head on a frozen backbone: `python train.py trainer.max_epochs=10`."""

import hydra
from omegaconf import DictConfig

from fashion_transfer.commands import cli
from fashion_transfer.commands.arguments import train_arguments
from fashion_transfer.commands.early_check import check_early


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> float | None:
    """Runs one job; torch is imported only for a configuration whose values are possible."""
    best: float | None = cli.job("fashion_transfer.commands.train.train", cfg, check_early)
    return best


if __name__ == "__main__":
    cli.run(main, train_arguments)
