"""Checkpoints: their addresses, and safe reading that runs no code of a file."""
