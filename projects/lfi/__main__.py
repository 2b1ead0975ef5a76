"""Entry point of `python -P -m lfi`, the command `lfi`."""

from lfi.cli import main

main()
