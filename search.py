"""Searches for the best values of keys: `python search.py trials=50`."""

import hydra
from omegaconf import DictConfig

from fashion_transfer.commands import cli
from fashion_transfer.commands.search_arguments import search_arguments


@hydra.main(version_base="1.3", config_path="conf", config_name="search")
def main(cfg: DictConfig) -> None:
    """Runs the study; torch is imported only once there is a trial to run."""
    from fashion_transfer.commands.search import search

    cli.job(search, cfg)


if __name__ == "__main__":
    cli.run(main, search_arguments)
