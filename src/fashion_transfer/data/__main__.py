"""`python -m fashion_transfer.data [DIR]`: gets the official files, or says why it cannot."""

import sys

from fashion_transfer.data.idx_files import find_files, load_pair
from fashion_transfer.terminal import command

with command():
    folder = find_files(sys.argv[1] if len(sys.argv) > 1 else "data")
    sizes = [len(load_pair(folder, train).labels) for train in (True, False)]
    print(f"Fashion-MNIST in {folder}: {sizes[0]} training and {sizes[1]} test images")
