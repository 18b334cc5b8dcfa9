"""Writes the generated parts of `docs/`: `python -m fashion_transfer.commands.docs_pages`.

The configuration page comes from the files and comments in `conf/`, the tables of the results page
from `results/results.md`. Both are committed, and a test compares them.
"""

import re
import shutil
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from fashion_transfer.files import write_text
from fashion_transfer.reporting import replace_between_markers
from fashion_transfer.reporting.tables import markdown_table

ROOT = Path(__file__).resolve().parents[3]
"""The folder that holds `conf/`, `docs/` and `results/`: these pages are of a checkout."""

COMMANDS = ("train", "evaluate", "predict", "app", "export", "search")

GROUPS = {
    "data": "Data",
    "model": "Model",
    "model/backbone": "Backbone",
    "model/head": "Head",
    "model/optimizer": "Optimizers",
    "model/scheduler": "Schedules of the learning rate",
    "policy": "Warnings",
    "trainer": "Training",
    "callbacks": "Callbacks",
    "logger": "Loggers",
    "paths": "Folders",
    "recipe": "Recipes of data sets",
    "recipe/optimizer": "Recipes of data sets, for an optimizer",
    "search": "Spaces of a search",
    "experiment": "Experiments",
    "debug": "Debugging",
    "hydra": "Hydra",
    "hydra/job_logging": "Messages",
    "hydra/sweeper": "Sweepers",
    "hydra/launcher": "Launchers",
    "hydra/help": "Help",
}
"""Headings by folder of `conf/`, in the order of the page."""

SHOWN_AS_THEY_ARE = (
    *("recipe", "recipe/optimizer", "search", "experiment", "debug"),
    *("hydra", "hydra/job_logging", "hydra/sweeper", "hydra/launcher", "hydra/help"),
)
"""Folders whose files give other values to keys that are explained elsewhere."""

PICTURES = {
    "results/results.png": "results.png",
    "results/images_per_class.png": "images_per_class.png",
    ".github/gallery.jpg": "gallery.jpg",
    ".github/photos.jpg": "photos.jpg",
}
"""Pictures that the site needs inside `docs/images/`, by where they come from."""

INTRODUCTION = """\
# Configuration

<!-- Written by `make docs` from the comments in conf/: change them there. -->

Every setting is a key in a file below `conf/`. An argument `key=value` of a command changes one:

```
python train.py data.images_per_class=100 trainer.max_epochs=20
```

A folder of `conf/` is a group, and each file in it is an option of that group. `group=option`
chooses another file:

```
python train.py model/head=linear experiment=fast
```

`-m` runs every combination of values that are separated by commas:

```
python train.py -m seed=0,1,2 model/head=linear,mlp
```

`python train.py --cfg job` prints the whole configuration and runs nothing. `null` means *none*.
The syntax is that of [Hydra](https://hydra.cc/docs/1.3/advanced/override_grammar/basic/).

A path is taken as it is, whatever Hydra makes of such a text elsewhere: `ckpt_path=epoch=3.ckpt`,
`"data.dir=~/my photos (2)"`. `~` is your home folder, and the quotes are your shell's. In a sweep,
commas separate paths; one with a comma needs quotes of its own, `"data.dir='a,b',c"`.

Every key and value is checked before anything is computed. An unknown key, also one that a `+`
adds, names the nearest right one; an impossible value names what is possible. A `+` adds an
argument of a class that the files do not name, as in `+trainer.gradient_clip_val=1.0`.

An optimizer and a schedule are files with their own defaults. Choose another file, and not another
class in the same file, which would keep arguments that were meant for AdamW:

```
python train.py model/optimizer=sgd model/scheduler=cosine
python train.py model/optimizer=lbfgs model.mixup=0 data.batch_size=10000
```

`python train.py --help` lists the keys that are used most, and the files of every group. For the
tab key to complete keys and files, in this shell:

```
eval "$(python train.py -sc install=bash)"
```

`install=zsh` and `install=fish` are for those shells; `uninstall=bash` takes it away.
"""

PACKAGE = re.compile(r"^# @package (\S+)$", re.MULTILINE)
LINE = re.compile(
    r"^(?P<indent> *)(?P<key>\w+):(?: +(?P<value>[^#\s].*?))?(?: +#(?P<comment>.*))?$"
)
CHOICE = re.compile(
    r"^ +- (?:optional )?(?P<group>[\w/]+): (?P<option>[\w/${}]+)(?: +#(?P<comment>.*))?$"
)


class Key(NamedTuple):
    """A key of a configuration file.

    Attributes:
        name: with the names of the mappings that it is in, `data.augmentation.zoom`.
        value: the default, as the file has it; empty for a mapping.
        comment: what the file says about it.
        is_choice: whether it chooses a file of a group.
    """

    name: str
    value: str
    comment: str
    is_choice: bool = False


def main() -> None:
    """Writes the generated pages and copies the pictures."""
    write_text(ROOT / "docs" / "configuration.md", configuration_page(ROOT / "conf"))
    page = ROOT / "docs" / "results.md"
    write_text(page, results_page(page.read_text(encoding="utf-8"), ROOT / "results"))
    for source, name in PICTURES.items():
        shutil.copyfile(ROOT / source, ROOT / "docs" / "images" / name)


def results_page(page: str, results: Path) -> str:
    """Returns the results page with the tables of `results.md` between its markers."""
    tables = (results / "results.md").read_text(encoding="utf-8")
    return replace_between_markers(page, "results", tables)


def configuration_page(conf: Path) -> str:
    """Returns the page that describes every configuration file, in Markdown."""
    parts = [INTRODUCTION]
    for command in COMMANDS:
        parts += [f"## {command}.py", *_section(conf / f"{command}.yaml", "")]
    for folder, heading in GROUPS.items():
        parts.append(f"## {heading}")
        for file in sorted((conf / folder).glob("*.yaml")):
            name = file.relative_to(conf.parent)
            parts += [f"### {name.as_posix()}", *_section(file, folder)]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _section(file: Path, folder: str) -> Iterator[str]:
    """Introduction, class and table of a file; or the file itself."""
    text = file.read_text(encoding="utf-8")
    introduction, body = _split_introduction(text)
    package = PACKAGE.search(text)
    prefix = package[1].replace("_global_", "") if package else folder.replace("/", ".")
    if introduction:
        yield introduction
    if folder in SHOWN_AS_THEY_ARE:
        if body:
            yield f"```yaml\n{body}\n```"
        return
    keys = list(read_keys(body, prefix))
    targets = {key.name: key.value for key in keys if key.name.endswith("._target_")}
    if target := targets.get(f"{prefix}._target_"):
        yield f"Gives the arguments of `{target}`."
    rows = []
    for key in keys:
        comment = key.comment
        if target := targets.get(f"{key.name}._target_"):
            comment = f"{comment} (arguments of `{target}`)".strip()
        name = key.name
        if key.is_choice:
            name = f"{folder}/{key.name}".lstrip("/")
            comment = comment or f"a file of conf/{name}"
        hidden = name.rpartition(".")[2].startswith("_")
        if not hidden and (key.value or comment):
            rows.append((f"`{name}`", f"`{key.value}`" if key.value else "", comment))
    if rows:
        yield markdown_table(("key", "default", "meaning"), rows, (0, 1, 2))


def _split_introduction(text: str) -> tuple[str, str]:
    """The comment at the top of a file, as Markdown, and what comes after it."""
    lines = text.splitlines()
    length = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    comment = [line for line in lines[:length] if not line.startswith("# @package")]
    # Lines that are indented are a block of their own.
    parts = []
    for indented, group in groupby(comment, lambda line: line.startswith("#  ")):
        block = [line.removeprefix("#").strip() for line in group]
        parts.append("\n".join(("```text", *block, "```")) if indented else " ".join(block))
    return "\n\n".join(parts), "\n".join(lines[length:]).strip("\n")


def read_keys(text: str, prefix: str = "") -> Iterator[Key]:
    """Yields the keys of a configuration file in their order, with their comments.

    A comment after a key goes on in the lines below it that hold nothing but a comment in the same
    column. A comment on lines of its own is of the key after it.

    Args:
        text: of the file, without the comment at its top.
        prefix: in front of every key, without its dot.
    """
    parents: list[str] = [prefix] if prefix else []
    base = len(parents)
    before, column, key = "", -1, None
    for line in text.splitlines():
        stripped = line.strip()
        if stripped.startswith("#"):
            comment = stripped.removeprefix("#").strip()
            if key is not None and line.index("#") == column:
                key = key._replace(comment=f"{key.comment} {comment}")
            else:
                before = f"{before} {comment}".strip()
            continue
        if key is not None:
            yield key
            key = None
        if choice := CHOICE.match(line):
            comment = (choice["comment"] or "").strip()
            key = Key(choice["group"], choice["option"], comment, is_choice=True)
        elif (match := LINE.match(line)) and match["key"] != "defaults":
            parents[base + len(match["indent"]) // 2 :] = [match["key"]]
            comment = (match["comment"] or "").strip()
            comment = f"{comment}. {before}" if comment and before else comment or before
            key = Key(".".join(parents), match["value"] or "", comment)
        column = line.find(" #") + 1 if " #" in line else -1
        before = ""
    if key is not None:
        yield key


if __name__ == "__main__":
    main()
