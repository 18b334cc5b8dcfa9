from pathlib import Path

import pytest

from fashion_transfer.commands.groups import GROUPS, group_choices
from fashion_transfer.errors import FashionTransferError

CONF = Path(__file__).resolve().parents[2] / "conf"


def test_groups_are_the_folders_of_conf():
    folders = {path.parent.relative_to(CONF).as_posix() for path in CONF.rglob("*/*.yaml")}
    assert set(GROUPS) == {f for f in folders if f.partition("/")[0] not in ("hydra", "search")}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("seed=1 model/head=linear", "seed=1 model/head=linear"),
        ("logger=null", "~logger"),
        ("callbacks=null model/head=null", "~callbacks ~model/head"),
        ("experiment=null", ""),
        ("experiment=fast seed=1 experiment=null", "seed=1"),
        ("experiment=null experiment=fast", "experiment=fast"),
        ("debug=null", ""),
        ("+debug=null experiment=fast", "experiment=fast"),
        ("+experiment=fast experiment=null", ""),
        ("recipe=null", "~recipe/optimizer@model.optimizer ~recipe"),
        ("~recipe", "~recipe/optimizer@model.optimizer ~recipe"),
        ("recipe/optimizer=null", "~recipe/optimizer@model.optimizer"),
        ("recipe/optimizer=folder_adamw", "recipe/optimizer@model.optimizer=folder_adamw"),
        ("recipe=folder", "recipe=folder"),
        ("~callbacks ~logger=csv", "~callbacks ~logger=csv"),
        ("ckpt_path=null", "ckpt_path=null"),
        ("model.scheduler=null", "model.scheduler=null"),
        ("-m experiment=null,fast", "-m experiment=null,fast"),
    ],
)
def test_null_for_a_group_is_what_hydra_takes_for_it(arguments, expected):
    assert group_choices(arguments.split()) == expected.split()


@pytest.mark.parametrize(
    "argument", ["trainer=5", "experiment=1.5", "logger=false", "recipe/optimizer=5"]
)
def test_a_number_for_a_file_is_a_mistake(argument):
    with pytest.raises(FashionTransferError, match=f"^there is no {argument}: name a "):
        group_choices([argument])


@pytest.mark.parametrize("argument", ["data=null", "~data", "paths=null", "~paths"])
def test_no_file_of_a_group_that_is_needed_is_a_mistake(argument):
    group = argument.strip("~").partition("=")[0]
    with pytest.raises(FashionTransferError, match=f"^there is no {group}: choose one by {group}="):
        group_choices([argument])


def test_no_optimizer_names_all_of_them():
    files = sorted(path.stem for path in (CONF / "model/optimizer").glob("*.yaml"))
    assert len(files) > 1
    with pytest.raises(FashionTransferError) as caught:
        group_choices(["model/optimizer=null"])
    assert all(f"model/optimizer={name}" in str(caught.value) for name in files)
