"""README.md and docs/: what they name exists, what they show runs, generated parts are current."""

import contextlib
import functools
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from PIL import Image

from fashion_transfer.benchmarks.readme import readme_text
from fashion_transfer.commands.docs_pages import GROUPS, PICTURES, configuration_page, results_page

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
ALL_PAGES = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]

MOST_LINES_OF_README = 199
GLOSSARY_TERMS = 24

FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[(?:[^\]]|\n)*\]\(([^)\s]+)\)")
GENERATED = re.compile(r"<!-- (\w+):begin -->.*?<!-- \1:end -->", re.DOTALL)
KEY = re.compile(r"(?:data|model|policy|trainer|callbacks|logger|paths|monitor)(?:\.\w+)+")
COMMANDS = ("train", "evaluate", "predict", "app", "export", "search")


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def written(page: Path) -> str:
    """The page without its generated tables, whose commands `make results` runs."""
    return GENERATED.sub("", read(page))


def blocks(page: Path, language: str) -> list[str]:
    return [code for name, code in FENCED.findall(written(page)) if name == language]


def spans(page: Path) -> list[str]:
    """Code within the text, without blocks of code."""
    return CODE.findall(FENCED.sub("", written(page)))


def command_lines(page: Path) -> Iterator[str]:
    """Every command of the page, without its comment."""
    text_of_blocks = "".join(blocks(page, "")).replace("\\\n", " ")
    for text in (*text_of_blocks.splitlines(), *spans(page)):
        yield re.split(r" +# ", text)[0].strip()


def ids(page: Path) -> str:
    return page.name


# ---- what the pages name


@pytest.mark.parametrize("page", ALL_PAGES, ids=ids)
def test_relative_links_and_pictures_lead_to_files(page):
    for target in LINK.findall(read(page)):
        if target.startswith(("http://", "https://", "#")):
            continue
        path, _, _ = target.partition("#")
        assert (page.parent / path).exists(), target


@pytest.mark.parametrize("page", ALL_PAGES, ids=ids)
def test_paths_of_the_project_exist(page):
    new = re.compile(r"my_photos|my_library|cosine|small_head")  # what the guide adds
    for span in spans(page):
        if re.fullmatch(r"(src|conf|tests|docs|results|notebooks)/[\w./]*", span):
            assert new.search(span) or (ROOT / span).exists(), span


@pytest.mark.parametrize("page", ALL_PAGES, ids=ids)
def test_make_targets_exist(page):
    makefile = read(ROOT / "Makefile")
    for line in command_lines(page):
        if match := re.match(r"make ([a-z][a-z-]*)", line):
            assert re.search(rf"^{match[1]}:", makefile, re.MULTILINE), line


def composed(command: str, overrides: list[str]) -> DictConfig:
    single = []
    for override in OverridesParser.create().parse_overrides(overrides):
        line = override.input_line
        assert line is not None
        if override.is_sweep_override():
            line = f"{override.key_or_group}={next(override.sweep_string_iterator())}"
        single.append(line)
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return compose(command, single)


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_command_lines_name_keys_that_exist(page):
    for line in command_lines(page):
        if match := re.match(r"python (train|evaluate|predict|app|export|search)\.py\b(.*)", line):
            words = shlex.split(match[2].partition(" -- ")[0])  # paths follow
            composed(match[1], [word for word in words if "=" in word])
        elif match := re.match(r'make train ARGS="(.*)"', line):
            composed("train", shlex.split(match[1]))


@pytest.fixture(scope="module")
def configs() -> list[DictConfig]:
    folder = composed("train", ["data=folder", "data.dir=photos"])
    logged = composed("train", ["logger=[wandb,mlflow]"])
    return [*(composed(command, []) for command in COMMANDS), folder, logged]


@pytest.mark.parametrize("page", [p for p in PAGES if p.name != "configuration.md"], ids=ids)
def test_keys_in_the_text_exist(page, configs):
    for span in spans(page):
        key, equals, _ = span.partition("=")
        if KEY.fullmatch(key):
            places = [OmegaConf.select(config, key.rpartition(".")[0]) for config in configs]
            last = key.rpartition(".")[2]
            assert any(isinstance(place, DictConfig) and last in place for place in places), span
        elif equals and key not in ("key", "group") and re.fullmatch(r"[a-z_/]+=[\w/.]+", span):
            assert fits(span), span


@functools.cache  # several pages name the same ones
def fits(override: str) -> bool:
    """Whether a command takes it, for one data set or the other."""
    for data in ([], ["data=folder", "data.dir=photos"]):
        for command in COMMANDS:
            with contextlib.suppress(HydraException):
                composed(command, [*data, override])
                return True
    return False


def test_names_of_the_python_api_exist():
    rows = re.findall(r"^\| `(fashion_transfer[\w.]*)` \| (.+) \|$", read(DOCS / "api.md"), re.M)
    assert len(rows) > 5
    for module, names in rows:
        for name in CODE.findall(names):
            assert hasattr(import_module(module), name), f"{module}.{name}"


# ---- what is generated


def test_configuration_page_is_current():
    page = read(DOCS / "configuration.md")
    assert page == configuration_page(ROOT / "conf"), "run `make docs`"


def test_configuration_page_has_every_folder_of_conf():
    folders = {file.parent.relative_to(ROOT / "conf") for file in (ROOT / "conf").rglob("*.yaml")}
    assert {folder.as_posix() for folder in folders} - {"."} == set(GROUPS)


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    results = json.loads(read(ROOT / "results" / "results.json"))
    if "descriptions" not in results["about"]:
        pytest.skip("results/ was written by version 0.1.0: run `make results`")
    return results


def test_results_page_is_current(results):
    page = read(DOCS / "results.md")
    assert page == results_page(page, ROOT / "results"), "run `make docs`"


def test_readme_tables_are_those_of_the_results(results):
    text = read(ROOT / "README.md")
    assert text == readme_text(text, results), "run `python -m fashion_transfer.benchmarks.readme`"


@pytest.mark.parametrize("name", ["results", "warnings"])
def test_readme_has_tables_between_markers(name):
    text = read(ROOT / "README.md")
    table = text.partition(f"<!-- {name}:begin -->")[2].partition(f"<!-- {name}:end -->")[0]
    assert table.count("\n| ") > 3


@pytest.mark.parametrize("source", PICTURES)
def test_pictures_of_the_site_are_current(source):
    copy = DOCS / "images" / PICTURES[source]
    assert copy.read_bytes() == (ROOT / source).read_bytes(), "run `make docs`"


@pytest.mark.skipif(find_spec("zensical") is None, reason="zensical is not installed")
def test_site_builds_strictly(tmp_path):
    shutil.copytree(DOCS, tmp_path / "docs")
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    ended = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for page in DOCS.glob("*.md"):
        folder = "" if page.stem == "index" else page.stem
        assert (tmp_path / "site" / folder / "index.html").is_file()


def test_every_page_is_in_the_navigation():
    named = re.findall(r'"([\w/]+\.md)"', read(ROOT / "zensical.toml"))
    assert sorted(named) == sorted(page.name for page in DOCS.glob("*.md"))


# ---- what is promised of the text


def test_readme_is_short():
    assert len(read(ROOT / "README.md").splitlines()) <= MOST_LINES_OF_README


def test_glossary_has_its_terms():
    assert len(re.findall(r"^## ", read(DOCS / "glossary.md"), re.MULTILINE)) == GLOSSARY_TERMS


@pytest.mark.parametrize("page", ALL_PAGES, ids=ids)
def test_lines_fit_an_editor(page):
    in_table_or_code = re.compile(r"^(\||```|!\[|\s|python |make |[\w.]+/|\[?`)")
    if page.name == "configuration.md":
        return
    for line in written(page).splitlines():
        assert len(line) <= 105 or in_table_or_code.match(line), line


# ---- the snippets of the Python API

SMALL = {
    '"data", images_per_class=500': "IDX_DIR, images_per_class=8, val_per_class=4, image_size=32, "
    "check_md5=False",
    "Exposure()": "Exposure(composites=16, controls=16, images_per_class=8)",
    '"resnet50", weights="IMAGENET1K_V1"': '"resnet18", weights=None, compile=False',
    "datamodule.class_names, multi": "datamodule.class_names, image_size=32, multi",
    "max_epochs=7": "max_epochs=1, accelerator='cpu', logger=False, enable_progress_bar=False",
    "images_per_set=200": "images_per_set=4",
    "size=224": "size=32",
}
"""What makes the snippets quick, by what is on the page."""


@pytest.fixture(scope="module")
def snippets() -> list[str]:
    code = blocks(DOCS / "api.md", "python")
    for old, new in SMALL.items():
        assert sum(block.count(old) for block in code) == 1, old
        code = [block.replace(old, new) for block in code]
    return code


def test_snippets_of_the_python_api_run(snippets, idx_dir, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    # Passes are filled up to this size, and the sets are small.
    monkeypatch.setattr("fashion_transfer.features.engine.MAX_PASS_SIZE", {"cpu": 8})
    for number, name in enumerate(("photo.jpg", "another.png")):
        Image.new("RGB", (50 + number, 40), (200, 30, 30)).save(name)
    namespace: dict[str, Any] = {"IDX_DIR": str(idx_dir)}
    train = next(block for block in snippets if "trainer.fit" in block)
    exec(train, namespace)  # the first snippet loads a checkpoint
    folder = tmp_path / "logs" / "train" / "runs" / "RUN" / "checkpoints"
    folder.mkdir(parents=True)
    shutil.copy("best.ckpt", folder)
    for block in snippets:
        exec(block, namespace)
    metrics = namespace["metrics"]
    # The metrics that the page about the warning explains.
    table = read(DOCS / "warning.md").partition("| metric | meaning |")[2].partition("\n\n")[0]
    named = re.findall(r"^\| `([\w/]+)` \|", table, re.MULTILINE)
    assert len(named) > 8
    named = [name.replace("/NAME/", "/digits/") for name in named]
    if_accepted = {"test/selective_accuracy"}  # of the predictions without a warning, if any
    assert set(named) <= set(metrics) | if_accepted


def test_the_three_lines_of_the_readme_are_the_first_of_the_api():
    lines = blocks(ROOT / "README.md", "python")[0].split("\n")
    lines = [line for line in lines if line]
    assert len(lines) == 3
    api = blocks(DOCS / "api.md", "python")[0]
    assert "fashion_transfer.load(" in lines[1]
    assert "fashion_transfer.load(" in api
    assert "classifier.predict([" in lines[2]
    assert "classifier.predict([" in api
