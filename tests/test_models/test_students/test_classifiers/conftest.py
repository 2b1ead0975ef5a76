"""A small classifier with a small teacher."""

import pytest
import torch
from lfi.registry import MODELS

ARCH = dict(embed_dims=16, num_layers=4, num_heads=2, feedforward_channels=32)


@pytest.fixture
def make_small(teacher_folder):
    """A seeded classifier for images of 32 px with a small teacher, at its first values, in training mode.

    `teacher` is merged in, and `changes` are further arguments of the model.
    """

    def make(kind, num_classes=4, folder='vit', backbone='lfi.InteractionQueryViT', teacher=None, **changes):
        torch.manual_seed(0)
        model = MODELS.build(
            dict(
                type=kind,
                backbone=dict(type=backbone, arch=ARCH, img_size=32, patch_size=8),
                head=dict(type='mmpretrain.LinearClsHead', num_classes=num_classes, in_channels=16),
                data_preprocessor=dict(
                    type='mmpretrain.ClsDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, to_rgb=True
                ),
                teacher={
                    'type': 'lfi.VLMAttentionTeacher',
                    'model': teacher_folder(folder),
                    'extractor': dict(type='maskclip'),
                    'concepts': ('circle', 'square', 'star', 'ring', 'heart'),
                    **(teacher or {}),
                },
                **changes,
            )
        )
        model.init_weights()
        return model.train()

    return make


@pytest.fixture
def make_classifier(teacher_folder):
    """A seeded classifier for images of 32 px, not at its first values.

    Its teacher knows the concepts, and a background that competes with them. `backbone` is merged in, and
    `changes` are further arguments of the model.
    """

    def make(kind, head, concepts, std, backbone=None, **changes):
        torch.manual_seed(0)
        model = MODELS.build(
            {
                'type': kind,
                'backbone': {
                    'type': 'lfi.InteractionQueryViT',
                    'arch': ARCH,
                    'img_size': 32,
                    'patch_size': 8,
                    **(backbone or {}),
                },
                'head': head,
                'data_preprocessor': dict(
                    type='mmpretrain.ClsDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, to_rgb=True
                ),
                'teacher': dict(
                    type='lfi.VLMAttentionTeacher',
                    model=teacher_folder('vit'),
                    extractor=dict(type='maskclip'),
                    concepts=concepts,
                    background=['wall'],
                ),
                **changes,
            }
        )
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=std)
        return model

    return make
