"""The backbone as a cached package. Compiling takes half a minute: most tests share one package."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch

from fashion_transfer.features import Extractor, FeatureStore, engine
from fashion_transfer.features import package as module
from fashion_transfer.features.cache import main
from fashion_transfer.features.package import CONTENT

SIZE = 8
SHAPE = (SIZE, 1, 32, 32)


@pytest.fixture
def whole_pass():
    return torch.rand(*SHAPE, generator=torch.Generator().manual_seed(5))


@pytest.fixture(scope="session")
def built(make_backbone, tmp_path_factory):
    """A backbone, and a store with its package, which no test changes."""
    backbone = make_backbone(compile=True, pool=["layer3@2", "layer2"])
    store = FeatureStore(tmp_path_factory.mktemp("packages"))
    backbone.use_packages(store)
    backbone.to_device("cpu")
    backbone.engine.packages.build(backbone.stages, "float32", SHAPE)
    return backbone, store


@pytest.fixture
def packaged(built, tmp_path):
    """The backbone, with a copy of the store."""
    backbone, store = built
    shutil.copytree(store.directory, tmp_path / "store" / "features")
    backbone.use_packages(FeatureStore(tmp_path / "store"))
    backbone.engine._opened = {}
    yield backbone
    backbone.use_packages(store)


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def no_compiler(monkeypatch):
    """Fails where anything is compiled."""

    def fail(*args, **options):
        raise RuntimeError("no compiler\nand a long story")

    monkeypatch.setattr(module, "_compile", fail)
    monkeypatch.setattr(torch, "compile", fail)


def folder_of(backbone):
    ((folder, _, _),) = backbone.engine.packages.store.entries()
    return folder


# What it computes


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_package_gives_the_same_numbers_as_torch_compile(packaged, whole_pass, threads):
    torch.set_num_threads(threads)
    package = packaged.engine.packages.open("float32", SHAPE)
    with torch.no_grad():
        nodes, expected = package(whole_pass), engine._torch_compile(packaged.stages)(whole_pass)
    assert list(nodes) == list(packaged.node_widths)
    for name, node in nodes.items():
        assert torch.equal(node, expected[name])


@pytest.mark.slow
def test_package_in_bfloat16_gives_the_same_numbers_as_torch_compile(
    make_backbone, tmp_path, whole_pass
):
    backbone = make_backbone(compile=True, precision="bfloat16")
    backbone.to_device("cpu")
    backbone.use_packages(FeatureStore(tmp_path))
    package = backbone.engine.packages.build(backbone.stages, "bfloat16", SHAPE)
    with torch.no_grad():
        expected = engine._torch_compile(backbone.stages)(whole_pass)
    for name, node in package(whole_pass).items():
        assert torch.equal(node, expected[name])


@pytest.mark.slow
def test_package_follows_the_number_of_threads(packaged, whole_pass):
    package = packaged.engine.packages.open("float32", SHAPE)
    torch.set_num_threads(2)
    expected = package(whole_pass)["layer4"]
    torch.set_num_threads(1)
    assert torch.equal(package(whole_pass)["layer4"], expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(SIZE - 1, 1, 32, 32),
        torch.zeros(SIZE + 1, 1, 32, 32),
        torch.zeros(SIZE, 3, 32, 32),
        torch.zeros(SIZE, 1, 32, 16),
        torch.zeros(SIZE, 1, 32, 32, dtype=torch.float64),
        torch.zeros(SIZE, 1, 32, 32, device="meta"),
        torch.zeros(SIZE, 32, 32),
    ],
    ids=lambda images: f"{tuple(images.shape)} {images.dtype} {images.device}",
)
def test_package_rejects_other_images(packaged, images):
    package = packaged.engine.packages.open("float32", SHAPE)
    with pytest.raises(ValueError, match=r"package of \(8, 1, 32, 32\) float32 cpu was given"):
        package(images)


@pytest.mark.slow
def test_package_takes_images_that_are_not_contiguous(packaged, whole_pass):
    package = packaged.engine.packages.open("float32", SHAPE)
    expected = package(whole_pass)["layer4"]
    turned = whole_pass.transpose(2, 3).contiguous().transpose(2, 3)
    assert not turned.is_contiguous()
    assert torch.equal(package(turned)["layer4"], expected)
    parts = torch.cat([torch.ones(1, 1, 32, 32), whole_pass])[1:]
    assert torch.equal(package(parts)["layer4"], expected)


# Where it is used


@pytest.mark.slow
def test_engine_uses_a_package_that_is_there(packaged, whole_pass, no_compiler):
    expected = packaged.engine._forward(whole_pass)
    for name, node in packaged.extract(whole_pass[:5]).items():
        assert torch.allclose(node, expected[name][:5], atol=1e-4)
    assert packaged.engine.try_compiling(32)


@pytest.mark.slow
def test_new_process_needs_no_compiler_and_not_its_modules(packaged):
    """What takes long to import stays out of a process that opens a package."""
    script = """
import sys, torch
from pathlib import Path
from fashion_transfer.features.package import Package
package = Package(Path(sys.argv[1]))
assert len(package(torch.zeros(*package.shape))) == len(package.nodes)
print(*{"torch._dynamo", "torch._inductor", "torchvision", "sympy"} & sys.modules.keys())
"""
    command = [sys.executable, "-c", script, str(folder_of(packaged))]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == ""


@pytest.mark.slow
def test_damaged_package_is_built_anew_and_not_loaded(packaged, whole_pass, caplog, monkeypatch):
    expected = packaged.engine.packages.open("float32", SHAPE)(whole_pass)
    content = folder_of(packaged) / CONTENT
    whole = shutil.copytree(content, content.parent.parent / "whole")
    library = next(content.rglob("*.so"))
    library.unlink()  # another process may have mapped the old file
    library.write_bytes(bytes(1000))
    monkeypatch.setattr(module, "_compile", lambda network, images, to: shutil.copytree(whole, to))
    nodes = packaged.extract(whole_pass)
    assert "damaged: it is built anew" in caplog.text
    for name, node in nodes.items():
        assert torch.equal(node, expected[name])
    assert packaged.engine.packages.open("float32", SHAPE) is not None
    assert [path.name for path in content.parent.iterdir() if path.is_dir()] == [CONTENT]


@pytest.mark.slow
def test_package_that_another_run_has_built_meanwhile_is_opened(packaged, no_compiler):
    packages = packaged.engine.packages
    assert packages.build(packaged.stages, "float32", SHAPE).nodes == tuple(packaged.node_widths)


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"network": {"fingerprint": "other"}},
        {"nodes": ("layer4",)},
        {"precision": "bfloat16"},
        {"shape": (SIZE, 3, 32, 32)},
        {"shape": (1, 1, 32, 32)},
        {"torch": "9.9"},
        {"processor": "other"},
    ],
    ids=str,
)
def test_packages_of_others_are_not_opened(packaged, monkeypatch, change):
    packages = packaged.engine.packages
    assert packages.has("float32", SHAPE)
    if "torch" in change:
        monkeypatch.setattr(torch, "__version__", change["torch"])
    if "processor" in change:
        monkeypatch.setattr(module, "_processor", lambda: change["processor"])
    network = packages.network | change.get("network", {})
    other = module.PackageCache(packages.store, network, change.get("nodes", packages.nodes))
    given = change.get("precision", "float32"), change.get("shape", SHAPE)
    assert not other.has(*given)
    assert other.open(*given) is None


def test_a_mirrored_backbone_opens_no_package_of_another(packaged, make_backbone):
    mirrored = make_backbone(mirror=True, pool=packaged.pool)
    mirrored.to_device("cpu")
    mirrored.use_packages(packaged.engine.packages.store)
    assert mirrored.engine.packages.nodes == packaged.engine.packages.nodes
    assert not mirrored.engine.packages.has("float32", SHAPE)


# Where there is none


@pytest.fixture
def without(make_backbone, tmp_path):
    """A backbone whose packages could be in an empty store."""
    backbone = make_backbone(compile=True)
    backbone.to_device("cpu")
    backbone.use_packages(FeatureStore(tmp_path / "empty"))
    return backbone


def test_what_cannot_be_packaged_is_compiled_by_torch_and_else_runs_eagerly(
    without, whole_pass, no_compiler, monkeypatch, caplog
):
    with monkeypatch.context() as patched:
        patched.setattr(torch, "compile", lambda stages, **options: stages)
        nodes = without.extract(whole_pass)
        without.extract(whole_pass)
        assert without.engine.try_compiling(32)
    without.engine._compiled = None
    assert not without.engine.try_compiling(32)
    assert torch.equal(without.extract(whole_pass)["layer4"], nodes["layer4"])
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [text for text in warnings if "RANDOM" not in text] == [
        "the backbone runs without a package (no compiler)",
        "torch.compile failed (no compiler): the backbone runs without it",
    ]


def test_looking_for_a_package_leaves_nothing_in_the_store(without):
    assert without.engine.packages.open("float32", SHAPE) is None
    assert not without.engine.packages.has("float32", SHAPE)
    assert not without.engine.packages.store.directory.exists()


def test_killed_build_leaves_nothing_for_the_next_one(without, monkeypatch):
    packages = without.engine.packages

    def fill_and_fail(network, images, content):
        content.mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_compile", fill_and_fail)
    with pytest.raises(KeyboardInterrupt):
        packages.build(without.stages, "float32", SHAPE)
    folder = folder_of(without)
    (folder / f"{module.SCRATCH}killed" / "deeper").mkdir(parents=True)
    assert packages.open("float32", SHAPE) is None
    with pytest.raises(KeyboardInterrupt):
        packages.build(without.stages, "float32", SHAPE)
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "key.json"]


# When it pays


@pytest.mark.parametrize(
    ("count", "compiler", "expected"),
    [(699, True, False), (700, True, True), (700, False, False)],
)
def test_compiling_pays_for_many_images(without, monkeypatch, count, compiler, expected):
    monkeypatch.setattr(engine, "_has_compiler", lambda: compiler)
    assert without.engine.pays(224, 1, count) is expected


@pytest.mark.slow
def test_package_that_is_there_takes_the_place_of_a_compiler(packaged, monkeypatch):
    monkeypatch.setattr(engine, "_has_compiler", lambda: False)
    assert packaged.engine.pays(32, 1, count=700)
    assert not packaged.engine.pays(32, 1, count=699)
    assert not packaged.engine.pays(32, 3, count=700)
    assert not packaged.engine.pays(64, 1, count=700)


def test_extractor_compiles_if_the_images_that_are_wanted_are_many(without, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "MIN_COMPILED_IMAGES", 30)
    monkeypatch.setattr(engine, "_has_compiler", lambda: True)

    def request(count):
        return {"images": "any", "image_size": 32}, 100, np.arange(count), draw, "images"

    def draw(rows, device):
        return torch.zeros(len(rows), 1, 32, 32)

    store = FeatureStore(tmp_path)
    extractor, decided = Extractor(without, store), []
    for counts in ((), (10,), (), (20, 5), (1,)):
        with extractor.plan([request(count) for count in counts]):
            pass
        decided.append(without.engine.auto)
    assert decided == [None, False, False, True, True]
    without.engine.compile = "auto"
    for count, expected in ((29, False), (40, True)):  # of another run
        extractor = Extractor(without, store)
        with extractor.plan(iter([request(count)])):
            assert without.engine.auto is expected
            extractor(*request(40))  # some of them cached


# One image at a time


class Alone:
    """Stands in for a package."""

    def __init__(self, stages):
        self.stages = stages
        self.shapes = []

    def __call__(self, images):
        self.shapes.append(tuple(images.shape))
        return self.stages(images)


@pytest.mark.parametrize("compile", [False, True])
def test_single_images_go_through_a_package_for_one(without, images, monkeypatch, compile):
    package = Alone(without.stages)
    opened = {"open": package if not compile else None, "build": package}
    for name, value in opened.items():
        monkeypatch.setattr(
            without.engine.packages, name, lambda *_, value=value: value, raising=True
        )
    without.engine.compile, without.engine.single = compile, True
    features = without(images)
    assert package.shapes == [(1, 3, 32, 32)] * 5
    assert torch.allclose(features, without.stages(images)["layer4"], atol=1e-5)


def test_single_images_run_together_where_there_is_no_package(without, images, no_compiler):
    without.engine.compile, without.engine.single = False, True
    assert torch.equal(without(images), without.stages(images)["layer4"])
    assert len(without(images[:0])) == 0


# In the list of what is cached


@pytest.mark.slow
def test_cache_lists_and_removes_packages(packaged, capsys):
    folder = folder_of(packaged)
    directory = str(folder.parent.parent)
    main(["--dir", directory])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if folder.name in line]
    cells = [cell.strip() for cell in line.split("│")[1:-1]]
    assert cells[1] == "resnet18 float32"
    assert cells[3:5] == [f"package: {SIZE} x 1", "32 px"]
    assert cells[6] == " ".join(packaged.node_widths)
    assert float(cells[-1]) > 40
    package = packaged.engine.packages.open("float32", SHAPE)
    main(["--dir", directory, "--max-size", "1MB"])
    assert "is in use by a run and stays" in capsys.readouterr().out
    assert folder.exists()
    del package
    main(["--dir", directory, "--max-size", "1MB"])
    assert not folder.exists()
