"""Paths as people type them: what Hydra makes of them in the end is the path that was meant."""

from pathlib import Path
from types import UnionType
from typing import Annotated, Union, get_args, get_origin, get_type_hints
from unicodedata import normalize

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from fashion_transfer.commands.schema import base, configs
from fashion_transfer.commands.schema.types import PathName
from fashion_transfer.paths import is_path_key, quote_paths, quoted, user_path

NAMES = (
    *("IMG (1).jpg", "a,b.jpg", "Müller.jpg", "it's.jpg", 'so "called"', "x=1.jpg", "[1].jpg"),
    *("[a]", "{x}", "a:b", "a: b", "$x", "a#b", "100%", "a;b&c|d", "`x`", "!x", "@x", "*", "?"),
    *(" lead", "trail ", "two\nlines", "a\ttab", "-x", "--x", "C:\\Users\\me\\w.pth", "C:\\d\\"),
    *("end\\", "back\\'slash", "\\", "'a'", '"a"', "'", "~", "~x", "\N{PARTY POPPER}"),
    *(normalize("NFC", "josé"), normalize("NFD", "josé"), "caf\udce9"),
    *("2024", "1e5", "0x10", "1_000", "true", "NULL", "inf", "last", "choice(a,b)"),
)


def values_of(key: str, arguments: list[str]) -> list[str]:
    """The values that Hydra runs jobs with for a key: one, or those of a sweep."""
    parsed = OverridesParser.create().parse_overrides([a for a in arguments if a != "-m"])
    [override] = [o for o in parsed if o.key_or_group == key]
    values = override.sweep_iterator() if override.is_sweep_override() else [override.value()]
    texts = [str(getattr(value, "text", value)) for value in values]
    return [OmegaConf.create({"value": text}).value for text in texts]


def value_of(key: str, *arguments: str) -> str:
    [value] = values_of(key, quote_paths(list(arguments)))
    return value


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty working folder; the user's folder is `home` in it."""
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    return tmp_path


def touch(name: str) -> None:
    try:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    except (OSError, UnicodeError):
        pytest.skip("no file name here")


# ---- one path


@pytest.mark.parametrize("name", NAMES)
def test_any_existing_file_is_named_as_it_is(folder, name):
    touch(f"./{name}")
    for argument in (f"./{name}", str(folder / name)):
        assert value_of("ckpt_path", f"ckpt_path={argument}") == argument
    if not name.startswith("~"):  # the user's folder
        assert value_of("ckpt_path", f"ckpt_path={name}") == name


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_is_still_to_be_written_is_named_as_it_is(folder, name):
    argument = f"{folder}/{name}"
    assert value_of("paths.logs", f"paths.logs={argument}") == argument
    assert value_of("paths.logs", f"paths.logs={quoted(argument)}") == argument


@pytest.mark.parametrize("name", NAMES)
def test_quoting_twice_is_quoting_once(name):
    once = quote_paths([f"paths.logs=x/{name}"])
    assert quote_paths(once) == once


@pytest.mark.parametrize("written", ["null", "NULL", "", "???", "true", "nan"])
def test_words_of_hydra_stay_unless_there_is_such_a_file(written):
    assert quote_paths([f"ckpt_path={written}"]) == [f"ckpt_path={written}"]
    assert quote_paths([f"ckpt_path='{written}'"]) == [f"ckpt_path='{written}'"]


@pytest.mark.parametrize(
    "argument",
    [
        *("ckpt_path=last", "ckpt_path=logs/train/runs/2030/best.ckpt", "data.dir=../data"),
        *("paths.logs=./logs", "input=[a.jpg,b.jpg]", "model.backbone.weights=IMAGENET1K_V1"),
        *("seed=1,2", "~reference", "~paths.logs", "+x=a b", "-m", "paths=default", "data=folder"),
        *("model.class_weights=[1,2]", "logger.wandb.name=x", "--cfg", "--config-name=dir=x"),
    ],
)
def test_other_arguments_stay_as_they_are(argument):
    assert quote_paths([argument]) == [argument]


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("~/my data, 2", "{home}/my data, 2"),
        ("~", "{home}"),
        ("'~/x'", "{home}/x"),
        ('"~/it\'s (1)"', "{home}/it's (1)"),
        ("'~/a\\'b'", "{home}/a'b"),
        ("./~/x", "./~/x"),
        ("~nobody-of-this-name/x", "~nobody-of-this-name/x"),
    ],
)
@pytest.mark.parametrize("prefix", ["", "+", "++"])
def test_tilde_is_the_users_folder_in_quotes_or_not(folder, typed, meant, prefix):
    meant = meant.format(home=folder / "home")
    assert value_of("paths.logs", f"{prefix}paths.logs={typed}") == meant


def test_interpolations_are_filled_in(folder):
    assert value_of("paths.logs", "paths.logs=${oc.env:HOME}/x (1)") == f"{folder}/home/x (1)"
    subdir = "hydra.sweep.subdir=${hydra.job.num}_${hydra.job.override_dirname}"
    assert quote_paths(["-m", subdir])[1].replace("'", "") == subdir


@pytest.mark.parametrize("typed", ["epoch\\=3.ckpt", "best\\ \\(1\\).ckpt"])
def test_hydras_escapes_are_taken_where_the_file_has_none(typed):
    name = typed.replace("\\", "")
    assert value_of("ckpt_path", f"ckpt_path={typed}") == typed
    touch(name)
    assert value_of("ckpt_path", f"ckpt_path={typed}") == name
    touch(f"./{typed}")
    assert value_of("ckpt_path", f"ckpt_path={typed}") == typed


@pytest.mark.parametrize(("on_disk", "typed"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_an_accent_is_found_in_either_spelling(on_disk, typed):
    touch(normalize(on_disk, "josé.pth"))
    given = normalize(typed, "josé.pth")
    assert Path(value_of("model.backbone.weights", f"model.backbone.weights={given}")).exists()


def test_folders_of_configurations_are_expanded(folder):
    [argument] = quote_paths(["--config-dir=~/conf"])
    assert argument == f"--config-dir={folder}/home/conf"


# ---- several paths


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("a.pth,b.pth", ["a.pth", "b.pth"]),
        ("~/a (1).pth,it's.pth,null", ["{home}/a (1).pth", "it's.pth", "None"]),
        ("'a,b.pth', \"~/c=1\"", ["a,b.pth", "{home}/c=1"]),
        ("${oc.select:x,y.pth},b", ["y.pth", "b"]),
        ("choice(a.pth,b.pth)", ["a.pth", "b.pth"]),
        ("a\\,b.pth,c.pth", ["a\\,b.pth", "c.pth"]),
    ],
)
def test_a_sweep_has_paths_between_commas(folder, typed, meant):
    key = "model.backbone.weights"
    values = values_of(key, quote_paths(["-m", f"{key}={typed}"]))
    assert values == [value.format(home=folder / "home") for value in meant]


def test_a_comma_is_part_of_a_path_in_one_run_and_of_an_existing_file():
    key = "model.backbone.weights"
    assert value_of(key, f"{key}=a.pth,b.pth") == "a.pth,b.pth"
    touch("a.pth,b.pth")
    assert values_of(key, quote_paths(["-m", f"{key}=a.pth,b.pth"])) == ["a.pth,b.pth"]
    for key in ("hydra.sweep.dir", "paths.logs"):  # of all runs
        assert value_of(key, "-m", f"{key}=a,b") == "a,b"


def test_input_is_a_list_of_paths_in_brackets(folder):
    [argument] = quote_paths(["input=[~/a (1).jpg, 'b,c.jpg',d.jpg]"])
    [override] = OverridesParser.create().parse_overrides([argument])
    assert override.value() == [f"{folder}/home/a (1).jpg", "b,c.jpg", "d.jpg"]
    assert value_of("output", "output=[a,b]") == "[a,b]"


# ---- which keys


def path_fields(model: type[base.Node]) -> set[str]:
    """Names of the fields of a model, and of all that derive from it, that hold a path."""
    names = set()
    for name, annotation in get_type_hints(model, include_extras=True).items():
        options = [annotation]
        while options:
            option = options.pop()
            if get_origin(option) in (Union, UnionType, list):
                options += get_args(option)
            elif option == PathName and get_origin(option) is Annotated:
                names.add(f"{'paths.' if model is configs.Paths else ''}{name}")
    return names.union(*map(path_fields, model.__subclasses__()))


def test_every_path_of_the_configuration_is_one():
    names = path_fields(base.Node)
    assert {"paths.logs", "ckpt_path", "dir", "save_dir", "input"} <= names
    assert [name for name in names if not is_path_key(name)] == []


@pytest.mark.parametrize(
    "key",
    [
        *("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir", "callbacks.best.dirpath"),
        *("trainer.profiler.dirpath", "logger.csv.save_dir", "logger.mlflow.artifact_location"),
        *("callbacks.figures.folder", "callbacks.best.filename", "data.cache", "paths.my_own"),
        *("study", "trainer.default_root_dir", "data.dir"),
    ],
)
def test_paths_that_the_schema_does_not_know_are_paths(key):
    for prefix in ("", "+", "++"):
        assert value_of(key, f"{prefix}{key}=epoch={{epoch}} (1)") == "epoch={epoch} (1)"


# ---- Python


def test_user_path_expands_the_users_folder(folder):
    assert user_path("~/x") == folder / "home" / "x"
    assert user_path(Path("~")) == folder / "home"
    assert user_path("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")
    assert user_path("a/~") == Path("a/~")
