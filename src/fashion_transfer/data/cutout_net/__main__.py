"""`python -m fashion_transfer.data.cutout_net [PIP_OPTION…]`: gets the net that cuts items out."""

import sys

from fashion_transfer.data.cutout_net import LICENCE, SHA256, get_net
from fashion_transfer.errors import FashionTransferError

try:
    path = get_net(sys.argv[1:])
    size = path.stat().st_size / 1e6
except FashionTransferError as error:
    sys.exit(f"error: {error}")
print(f"The cut-out net U²-Net-p: {path}, {size:.1f} MB, SHA-256 {SHA256}\nLicence: {LICENCE}")
