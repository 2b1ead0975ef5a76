"""Hooks of a run: checks of non-finite losses, of weights against the model, and of resumed training."""
