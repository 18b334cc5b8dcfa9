"""`python -m fashion_transfer.features NAME`: gets torchvision's ResNet50 weights of a name."""

import sys

from fashion_transfer.features.weights import load_weights
from fashion_transfer.terminal import command

with command():
    weights = load_weights("resnet50", sys.argv[1] if len(sys.argv) > 1 else "IMAGENET1K_V1")
    print(f"ResNet50 weights {weights.name}, SHA-256 {weights.sha256}")
