"""Labels image files: `python predict.py photo.jpg folder/`."""

import sys

import hydra
from omegaconf import DictConfig

from fashion_transfer.commands import cli
from fashion_transfer.commands.arguments import evaluate_arguments, split_arguments

paths: list[str] = []


@hydra.main(version_base="1.3", config_path="conf", config_name="predict")
def main(cfg: DictConfig) -> None:
    """Runs one job; torch is imported only once there is one to run."""
    from fashion_transfer.commands.predict import predict

    cli.job(lambda cfg: predict(cfg, paths), cfg)


if __name__ == "__main__":
    paths, sys.argv[1:] = split_arguments(sys.argv[1:])
    cli.run(main, evaluate_arguments)
