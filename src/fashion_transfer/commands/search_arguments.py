"""Arguments of search.py before Hydra sees them. Imports no torch and no Optuna."""

from importlib.util import find_spec

from fashion_transfer.commands.arguments import MULTIRUN, RENAMED, check_renamed
from fashion_transfer.errors import FashionTransferError
from fashion_transfer.paths import quote_paths


def search_arguments(arguments: list[str]) -> list[str]:
    """Returns the arguments of search.py for Hydra.

    Raises:
        FashionTransferError: one of them makes no sense for a search, or Optuna is not installed.
    """
    if find_spec("optuna") is None:
        raise FashionTransferError(
            "search.py needs Optuna, which is not installed: run `pip install -e '.[search]'`"
        )
    for argument in arguments:
        if argument in ("-m", "--multirun", MULTIRUN):
            raise FashionTransferError(
                f"{argument} is for train.py: search.py runs its trials itself. The same command "
                "in a second terminal runs two at a time"
            )
        if argument.startswith("ckpt_path=") and argument != "ckpt_path=null":
            raise FashionTransferError(
                f"{argument} is for train.py: the same command continues a search"
            )
    check_renamed(arguments, RENAMED)
    return quote_paths(arguments)
