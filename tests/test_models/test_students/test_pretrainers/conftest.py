"""A small pretrainer with a small teacher."""

import pytest
import torch
from lfi.registry import MODELS
from unlabelled_batches import BACKBONE, PREPROCESSOR


@pytest.fixture
def make(teacher_folder):
    """A seeded pretrainer for images of 32 px; `backbone` is merged in, all else replaces an argument."""

    def build(**kwargs):
        torch.manual_seed(0)
        config = dict(
            type='lfi.LFIPretrainer',
            backbone={**BACKBONE, **kwargs.pop('backbone', {})},
            data_preprocessor=PREPROCESSOR,
            teacher=dict(
                type='lfi.VLMAttentionTeacher',
                model=teacher_folder('vit'),
                extractor='maskclip',
                concepts=['circle', 'square', 'star', 'ring', 'heart'],
            ),
        )
        model = MODELS.build({**config, **kwargs})
        model.init_weights()
        return model.train()

    return build
