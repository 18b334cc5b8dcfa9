"""`python -m fashion_transfer.data.cutout_net [PIP_OPTION…]`: gets the net that cuts items out."""

import sys

from fashion_transfer.data.cutout_net import LICENCE, SHA256, get_net
from fashion_transfer.terminal import command

with command():
    path = get_net(sys.argv[1:])
    size = path.stat().st_size / 1e6
    print(f"The cut-out net U²-Net-p: {path}, {size:.1f} MB, SHA-256 {SHA256}\nLicence: {LICENCE}")
