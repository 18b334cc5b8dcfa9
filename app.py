"""Shows a page that predicts pictures: `python app.py`, and a browser."""

import hydra
from omegaconf import DictConfig

from fashion_transfer.commands import cli
from fashion_transfer.commands.arguments import evaluate_arguments


@hydra.main(version_base="1.3", config_path="conf", config_name="app")
def main(cfg: DictConfig) -> None:
    """Runs one job; torch is imported only once there is one to run."""
    from fashion_transfer.commands.app import app

    cli.job(app, cfg)


if __name__ == "__main__":
    cli.run(main, evaluate_arguments)
