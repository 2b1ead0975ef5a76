"""`python -P -m lfi`, the command `lfi`."""

from lfi.command import main

main()
