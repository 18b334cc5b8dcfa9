"""The checks of the source's structure, on small packages of their own."""

from pathlib import Path

import pytest

from fashion_transfer.benchmarks import structure


@pytest.fixture
def write(tmp_path):
    """`write(**code)`: a package; `data__batch="…"` is the file data/batch.py. Gives its folder."""

    def files(**code: str) -> Path:
        for name, text in code.items():
            path = tmp_path / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            for folder in {path.parent, tmp_path}:
                (folder / "__init__.py").touch()
            path.write_text(text)
        return tmp_path

    return files


def test_modules_are_named_as_they_are_imported(write):
    source = write(errors="", data__batch="")
    assert list(structure.modules(source)) == [
        "fashion_transfer",
        "fashion_transfer.data",
        "fashion_transfer.data.batch",
        "fashion_transfer.errors",
    ]


def test_graph_has_modules_and_packages_that_are_imported(write):
    source = write(
        errors="",
        data__batch="import torch\nfrom fashion_transfer.errors import A\n",
        models__heads="from fashion_transfer.data import batch, B\n"
        "import fashion_transfer.errors\n",
    )
    graph = structure.import_graph(source)
    assert graph["fashion_transfer.data.batch"] == {"fashion_transfer.errors"}
    assert graph["fashion_transfer.models.heads"] == {
        "fashion_transfer.data",
        "fashion_transfer.data.batch",
        "fashion_transfer.errors",
    }


def test_circles_are_counted(write):
    assert (
        structure.import_circles(write(errors="", data__a="import fashion_transfer.errors")) == []
    )
    source = write(
        data__a="from fashion_transfer.data.b import B",
        data__b="def late():\n    from fashion_transfer.data.c import C\n",
        data__c="from fashion_transfer.data import a",
        features__a="import fashion_transfer.features.b",
        features__b="import fashion_transfer.features.a",
    )
    circles = structure.import_circles(source)
    assert len(circles) == 2
    assert {len(set(circle)) for circle in circles} == {2, 3}


def test_imports_for_type_checkers_make_no_circle(write):
    code = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import fashion_transfer.data.b\n"
    )
    assert (
        structure.import_circles(write(data__a=code, data__b="import fashion_transfer.data.a"))
        == []
    )


def test_imports_against_the_layers_are_named(write):
    source = write(
        errors="",
        data__a="import fashion_transfer.errors\nimport fashion_transfer.features.b\n",
        features__b="from fashion_transfer.commands.train import train\n",
        commands__train="import fashion_transfer.data.a\n",
        unlisted__c="import fashion_transfer.errors\n",
    )
    assert structure.upward_imports(source) == [
        "fashion_transfer.data.a imports fashion_transfer.features.b",
        "fashion_transfer.features.b imports fashion_transfer.commands.train",
        "fashion_transfer.unlisted.c imports fashion_transfer.errors",
    ]


@pytest.mark.parametrize(
    "code",
    [
        "told = 1",
        "def settle(): pass",
        "def f(kinds): pass",
        "class MadeDataset: pass",
        "x.make_tail = 1",
        "for found in y: pass",
        "right = True",
        "with a as kept: pass",
        "MOST_ANSWERS = 3",
    ],
)
def test_private_words_in_names_are_listed(write, code):
    [entry] = structure.private_words(write(data__a=f"\n{code}\n"))
    assert entry.startswith("data/a.py:2 ")


@pytest.mark.parametrize(
    "code",
    [
        "unfamiliar = remade = 1",
        "order = x.argsort(kind='stable')",
        "left, right = box",
        "text = 'several items'",
        "frames = found_at = 1",
        "if x.dtype.kind == 'f': pass",
    ],
)
def test_words_that_are_no_private_names_are_left_alone(write, code):
    assert structure.private_words(write(data__a=code)) == []


def test_private_keys_of_the_configuration_are_listed(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "a.yaml").write_text("tail_lr: 1\nlist:\n  - kinds: 2\ngood: several\n")
    assert structure.private_keys(tmp_path) == ["model/a.yaml tail_lr", "model/a.yaml kinds"]


def test_sizes_are_listed_from_the_largest(write):
    source = write(
        data__a="class Small:\n    x = 1\n\n\nclass Large:\n    x = 1\n    y = 2\n",
        data__b="x = 1\n",
    )
    assert structure.file_sizes(source)[0] == ("data/a.py", 7)
    assert structure.class_sizes(source) == [
        ("fashion_transfer.data.a.Large", 3),
        ("fashion_transfer.data.a.Small", 2),
    ]
