"""The arguments of `runs.py`."""

import argparse
from typing import NoReturn

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.paths import user_path

DESCRIPTION = """Every training run under logs/ in one table: what differs, metrics, seconds,
weights, commit and date. Nothing is cut off: rows that have no room become blocks of lines."""

EPILOG = """examples:
  python runs.py --where data.images_per_class=500 --sort test/accuracy
  python runs.py --where status=finished --where 'date>=2026-11-01' --seeds
  python runs.py --output runs.html
  python runs.py show last
  python runs.py diff best last
  python runs.py prune --dry-run
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raises instead of printing the usage: one line, as of every other mistake."""
        if "paths.logs=" in message:
            message = "paths.logs=DIR is --logs DIR here"
        raise FashionTransferError(f"{message}: see `python runs.py --help`")


def parser() -> argparse.ArgumentParser:
    """Returns the parser; a mistake raises `FashionTransferError`."""
    common = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument(
        "--logs", type=user_path, metavar="DIR", help="folder of the runs; default logs"
    )
    common.add_argument("--all", action="store_true", help="debug runs, too")
    filters = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    filters.add_argument(
        "--where",
        action="append",
        metavar="CONDITION",
        help="only these runs: KEY=VALUE, or with !=, >=, <=, >, < or ~ (contains); KEY is a key "
        "of the configuration, a metric, or status, date, commit, weights; may be given again",
    )
    whole = _Parser(
        prog="runs.py",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[common, filters],
        allow_abbrev=False,
    )
    whole.add_argument(
        "--sort",
        metavar="NAME",
        help="order by a metric or key, the best first; default: the metric of monitor.metric",
    )
    whole.add_argument("--reverse", action="store_true", help="the worst first")
    whole.add_argument("--limit", type=_positive, metavar="N", help="the first N rows only")
    whole.add_argument(
        "--seeds",
        action="store_true",
        help="runs that differ in their seed alone as one row: mean ± standard deviation",
    )
    whole.add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="NAME",
        help="show this metric instead of the usual ones; may be given again",
    )
    whole.add_argument(
        "--columns", default="", metavar="NAME,…", help="show these columns and no others"
    )
    whole.add_argument(
        "--commands", action="store_true", help="print the command of each row below the table"
    )
    whole.add_argument(
        "--output",
        type=user_path,
        metavar="FILE",
        help="write to FILE.html, FILE.md or FILE.csv instead",
    )
    commands = whole.add_subparsers(dest="command", metavar="{show,diff,prune}", title="commands")
    show = commands.add_parser(
        "show", help="one run: its command, what it changes, metrics, files", parents=[common]
    )
    show.add_argument(
        "run",
        metavar="RUN",
        help="a folder, a part of its name, last or best; of a folder of runs: their table",
    )
    diff = commands.add_parser("diff", help="what differs between two runs", parents=[common])
    diff.add_argument("a", metavar="A", help="a run, as of show")
    diff.add_argument("b", metavar="B", help="another one")
    prune = commands.add_parser(
        "prune",
        help="remove debug runs and those that failed, were interrupted or killed, after asking",
        parents=[common, filters],
    )
    prune.add_argument("--yes", action="store_true", help="do not ask")
    prune.add_argument("--dry-run", action="store_true", help="only list what would be removed")
    return whole


def _positive(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1, got {text!r}")
    return number
