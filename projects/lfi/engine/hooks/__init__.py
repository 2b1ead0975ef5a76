"""Hooks of a run: checks of losses, weights and resumed training, and the progress in a terminal."""
