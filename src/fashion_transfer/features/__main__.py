"""`python -m fashion_transfer.features NAME`: gets torchvision's ResNet50 weights of a name."""

import sys

from fashion_transfer.errors import FashionTransferError
from fashion_transfer.features.weights import load_weights

try:
    weights = load_weights("resnet50", sys.argv[1] if len(sys.argv) > 1 else "IMAGENET1K_V1")
except FashionTransferError as error:
    sys.exit(f"error: {error}")
print(f"ResNet50 weights {weights.name}, SHA-256 {weights.sha256}")
