"""Studies of classifiers with labels for all images."""

from __future__ import annotations

import re
from dataclasses import replace

from ..arms import arms_of_kind
from ..settings import PHOTOS_CHOSEN, with_settings
from .preset import Preset
from .students import (
    FEW_LABELS_ARMS,
    classification_arms,
    named_arms,
    with_fewer_seeds,
    with_localization,
    without_cache,
)

SHAPES_STUDENT = 'vit-128x6-p8_shapes'
TINY_STUDENT = 'vit-128x6-p8_lit-lite0_tiny-imagenet-20'
RESNET_STUDENT = 'resnet18_lit-lite0_tiny-imagenet-20'
# Arms far from LFI. Close arms need all seeds for a narrow interval.
SHAPES_FEWER_SEEDS = (
    'queries',
    'feature-mse',
    'other-image-affinity',
    'mean-affinity',
    'shuffled-locations',
    'mean-target',
    'lfi-write-back',
    'lfi-not-persistent',
    'lfi-fast',
    'lfi-logit-kd',
)
SHAPES = Preset(
    about='Built-in Shapes, 3,200 training images of 64 px, 10 epochs from scratch, 2,000 test images, '
    'chance 5 %; the built-in teacher, which has seen instance masks.',
    # All arms but `lfi-cached` ask the teacher about each view.
    arms=with_fewer_seeds(
        with_localization(
            (
                *without_cache(classification_arms(SHAPES_STUDENT)),
                *named_arms(('lfi-cached',), SHAPES_STUDENT),
            ),
            SHAPES_STUDENT,
        ),
        SHAPES_FEWER_SEEDS,
    ),
    test_options=('test_dataloader.dataset.split=test', 'test_dataloader.dataset.num_images=2000'),
    # Three seeds did not separate LFI from logit KD.
    seeds=(0, 1, 2, 3, 4),
    short=(4, 7),
)
# The Shapes study, which needs no data on disk, compares the other controls and ablations. On photos dense
# features are ahead of LFI.
TINY_SMALL_ARMS = (
    *(name for name in arms_of_kind('baseline') if name not in FEW_LABELS_ARMS),
    'other-image-affinity',
    'other-image',
    'mean-target',
    'lfi',
    'lfi-spatial',
    'lfi-semantic',
    'lfi-no-presence',
    'lfi-fast',
    'lfi-dense-features',
)
# With three seeds some of the other arms were close.
TINY_SMALL_FEWER_SEEDS = ('no-prior', 'lfi-fast')
TINY_SMALL = Preset(
    about='20 classes of Tiny-ImageNet with 100 training images each, 64 px, 15 epochs from scratch; '
    'validation on 50 further training images of each class, test on the 50 official validation images of '
    'each, chance 5 %; '
    'LiT-style EfficientNet-Lite0 as teacher.',
    arms=with_fewer_seeds(
        with_localization(
            tuple(
                with_settings(arm, PHOTOS_CHOSEN)
                for arm in named_arms(TINY_SMALL_ARMS, TINY_STUDENT, features=True)
            ),
            TINY_STUDENT,
        ),
        TINY_SMALL_FEWER_SEEDS,
    ),
    options=('val_dataloader.dataset.split=train', 'val_dataloader.dataset.images_per_class=(100,150)'),
    # Three seeds did not separate the arms.
    seeds=(0, 1, 2, 3, 4),
    short=(6, 9),
)
# `dense-features` is the best baseline of tiny-small.
TINY_50_ARMS = ('task-loss', 'dense-features', 'other-image', 'lfi')
TINY_50 = Preset(
    about='50 classes of Tiny-ImageNet with 225 training images each, 64 px, 8 epochs from scratch: 14 '
    'to 18 minutes a cell on one core, and 18 to 22 where it learns from a teacher; validation on 25 '
    'further training images of each class, test on the 50 official validation images of each, '
    'chance 2 %; LiT-style EfficientNet-Lite0 as teacher. Settings as with 20 classes.',
    arms=named_arms(TINY_50_ARMS, 'vit-128x6-p8_lit-lite0_tiny-imagenet-50', features=True),
    options=('val_dataloader.dataset.split=train', 'val_dataloader.dataset.images_per_class=(225,250)'),
)
TINY_FULL = Preset(
    about='Tiny-ImageNet, ViT-Tiny/8 at 64 px, 100 epochs from scratch, chance 0.5 %; the validation images '
    'serve as test images too; CLIP ViT-B/16 by ClearCLIP as teacher.',
    arms=classification_arms('vit-tiny-p8_clip-b16_tiny-imagenet', plain='vit-tiny-p8_tiny-imagenet'),
    published={'accuracy/top1': '+3.3'},
)


def in_epochs(about: str, epochs: int) -> str:
    """Return the description of a study with another number of epochs."""
    return re.sub(r'\d+ epochs from scratch', f'{epochs} epochs from scratch', about)


# Settings were tuned with the ViT.
TINY_RESNET = replace(
    TINY_SMALL,
    about=f'A narrow ResNet-18, with an adapter in all arms but task-loss. {in_epochs(TINY_SMALL.about, 8)}',
    arms=tuple(
        replace(arm, epochs=8)
        for arm in named_arms(
            ('task-loss', 'logit-kd', 'dense-features', 'other-image', 'lfi'), RESNET_STUDENT, features=True
        )
    ),
    seeds=Preset.seeds,
    short=(),
)
# The reference of `shapes` still rises at the end of its schedule.
LONG_ARMS = ('task-loss', 'no-prior', 'logit-kd', 'other-image', 'lfi')
SHAPES_LONG = replace(
    SHAPES,
    about=in_epochs(SHAPES.about, 20),
    arms=tuple(replace(arm, epochs=20) for arm in SHAPES.arms if arm.name in LONG_ARMS),
    seeds=Preset.seeds,
    short=(),
)
# Two settings of `shapes` were changed after its test results were known.
SHAPES_FRESH = replace(
    SHAPES,
    about=f'Other images to train, validate and test on than in `shapes`, and other seeds. {SHAPES.about}',
    arms=tuple(
        # Five seeds did not separate LFI from logit KD.
        replace(arm, seeds=5 if arm.name in ('task-loss', 'other-image') else None)
        for arm in SHAPES.arms
        if arm.name in ('task-loss', 'logit-kd', 'other-image', 'lfi')
    ),
    options=('train_dataloader.dataset.seed=7', 'val_dataloader.dataset.seed=7'),
    test_options=(*SHAPES.test_options, 'test_dataloader.dataset.seed=7'),
    seeds=(5, 6, 7, 8, 9, 10, 11, 12),
    short=(),
)
# Options that turn the students from scratch into mmpretrain's ViT.
PLAIN = (
    'model.backbone.stem=None',
    'model.backbone.with_cls_token=True',
    'model.backbone.out_type=cls_token',
    'model.supervision.prior=None',
)
SHAPES_PLAIN = replace(
    SHAPES,
    about=f'The plain ViT: a class token, neither stem nor prior. {SHAPES.about}',
    arms=tuple(
        replace(arm, options=(*arm.options, *PLAIN))
        for arm in without_cache(named_arms(('task-loss', 'other-image', 'lfi'), SHAPES_STUDENT))
    ),
    seeds=Preset.seeds,
    short=(),
)
