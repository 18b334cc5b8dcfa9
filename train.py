"""Trains a head on a frozen backbone: `python train.py trainer.max_epochs=10`."""

import hydra
from omegaconf import DictConfig

from fashion_transfer.commands import cli
from fashion_transfer.commands.arguments import train_arguments


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
def main(cfg: DictConfig) -> float | None:
    """Runs one job; torch is imported only once there is one to run."""
    from fashion_transfer.commands.train import train

    best: float | None = cli.job(train, cfg)
    return best


if __name__ == "__main__":
    cli.run(main, train_arguments)
