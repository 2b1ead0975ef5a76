"""Checkpoints: where they lie, and reading them without running code that they hold.

It imports `errors`, `repositories` and `config_types`, and nothing of the rest of `engine`.
"""
