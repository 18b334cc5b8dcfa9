"""Lists, compares and removes training runs: `python runs.py`."""

from fashion_transfer.commands.runs import main

if __name__ == "__main__":
    main()
