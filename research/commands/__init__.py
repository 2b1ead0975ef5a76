"""Commands of `python -m research`, one file each."""
