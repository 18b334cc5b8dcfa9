"""The licence beside the numbers."""

from importlib import metadata
from types import SimpleNamespace

import pytest

from fashion_transfer.features.licences import UNKNOWN, weights_licence

COMPRESSED = "ad7cb5daac4478098998a3b3967f4333d8e4d66c12039fe82a3606de651c0043"
EFFICIENTNET = "efficientnet-lite0-57934424.pth"


@pytest.mark.parametrize("name", ["IMAGENET1K_V1", "IMAGENET1K_V2"])
def test_weights_of_torchvision_have_its_licence(name):
    assert "BSD-3-Clause" in weights_licence(name, "0" * 64)


def test_compressed_resnet_is_recognised_by_its_hash():
    assert weights_licence("my.pth", COMPRESSED).startswith("CC BY-NC 4.0")
    assert weights_licence("my.pth", "0" * 64) == UNKNOWN


class Distribution(SimpleNamespace):
    """Stands for an installed package."""

    files = [SimpleNamespace(name="LICENSE", read_text=lambda: "\nA Licence\n\nmore")]


@pytest.mark.parametrize(
    ("stated", "licence"),
    [
        ({"license_expression": "MIT"}, "MIT"),
        ({"license": "BSD\nmore"}, "BSD"),
        ({"license": "UNKNOWN"}, "A Licence"),
        ({}, "A Licence"),
    ],
)
def test_licence_of_a_package_comes_from_its_metadata_or_its_file(monkeypatch, stated, licence):
    package = Distribution(metadata=SimpleNamespace(json=stated))
    monkeypatch.setattr(metadata, "distribution", lambda name: package)
    assert weights_licence(EFFICIENTNET, "") == licence


def test_licence_of_a_package_that_is_not_installed_is_unknown(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    assert weights_licence(EFFICIENTNET, "") == UNKNOWN
