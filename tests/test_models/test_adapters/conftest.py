"""Backbones, plain and adapted."""

import pytest
import torch
from small_backbones import BACKBONES, build


@pytest.fixture
def make_adapted():
    """An adapted backbone with random weights that differ from layer to layer."""

    def make(name='resnet', **options):
        torch.manual_seed(0)
        adapted = build(
            dict(
                type='lfi.InteractionQueryAdapter',
                query_dims=16,
                num_heads=2,
                probe_size=64,
                **BACKBONES[name],
            )
            | options
        )
        for parameter in adapted.interaction.parameters():
            # Biases and norms begin at 0 and 1, which would hide one that is left out. Gates stay shut.
            if parameter.ndim == 1 and len(parameter) > 1:
                torch.nn.init.normal_(parameter, 0.5, 0.2)
        return adapted

    return make


@pytest.fixture
def make_pair(make_adapted):
    """A plain backbone and the adapted one with its weights."""

    def make(name, **options):
        torch.manual_seed(1)
        plain = build(BACKBONES[name]['backbone'])
        adapted = make_adapted(name, **options)
        result = adapted.load_state_dict(plain.state_dict(), strict=False)
        assert all(key.startswith('interaction.') for key in result.missing_keys)
        assert not result.unexpected_keys
        return plain, adapted

    return make
