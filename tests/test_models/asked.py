"""Random images and questions, and a pass of a backbone that asks them."""

import torch


def images(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def questions(*shape, seed=5):
    return images(*shape, 16, seed=seed)


def ask(backbone, x, starts):
    """The outputs and the states of a pass that asks."""
    with backbone.record_interactions(starts) as record:
        outs = backbone(x)
    return outs, record.states


def set_mode(training, *models):
    for model in models:
        # Backbones of mmpretrain return nothing here.
        model.train(training)
