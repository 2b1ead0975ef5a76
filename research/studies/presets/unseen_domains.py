"""Studies that test on unseen domains or unseen classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..arms import ARMS, Arm, build_arm
from .preset import Preset

ZERO_SHOT = Preset(
    about='Trained on what is there of Tiny-ImageNet, tested by presence on all domains that are there '
    'of PACS (chance 14 %) and VLCS (20 %), whose classes are named at test time; top-1, mean of the '
    'domains. A ViT 128 wide and 6 blocks deep, 64 px, 8 epochs from scratch; validation on Tiny-ImageNet; '
    'LiT-style EfficientNet-Lite0 as teacher.',
    arms=tuple(
        build_arm(name, 'vit-128x6-p8_lit-lite0_tiny-imagenet', cache='maps')
        for name in ('presence', 'other-image', 'lfi')
    ),
    metrics=('pacs/domain/mean', 'vlcs/domain/mean'),
    validation='accuracy/top1',
    tests={
        name: f'configs/domain_generalization/zero-shot_vit-128x6-p8_lit-lite0_tiny-imagenet_{name}.py'
        for name in ('pacs', 'vlcs')
    },
    published={'pacs/domain/mean': '+2.4', 'vlcs/domain/mean': '+9.3'},
)


def leave_one_out(
    about: str, arms: tuple[Arm, ...], options: tuple[str, ...] = (), seeds: tuple[int, ...] = (0, 1, 2)
) -> Preset:
    """Build a study with DomainBed's protocol, which leaves each domain out of training in turn.

    Args:
        about: description of data and schedule.
        arms: arms of the study, the baseline first and the method to judge last.
        options: `--cfg-options` of all arms. Defaults to none.
        seeds: seeds of the runs. Defaults to (0, 1, 2).
    """
    return Preset(
        about,
        arms,
        method=arms[-1].name,
        metrics=('domain/mean',),
        options=(*options, 'default_hooks.checkpoint.max_keep_ckpts=1'),
        seeds=seeds,
        leaves_domains_out=True,
        # DomainBed's trials also differ in their split.
        seed_options=(
            'randomness.seed={seed}',
            'train_dataloader.dataset.seed={seed}',
            'val_dataloader.dataset.seed={seed}',
        ),
    )


def domain_arm(config: str, cache: str | None = None) -> Arm:
    """Build an arm from a config, named after its file."""
    return Arm(Path(config).stem, config, cache=cache)


def domain_study(data: str, about: str) -> Preset:
    """Build the study of task loss, LFI and its negative control on a data set of domains."""
    lfi = domain_arm(f'configs/domain_generalization/lfi_vit-128x6-p8_lit-lite0_{data}.py', cache='maps')
    control = 'other-image'
    return leave_one_out(
        f'{about}, each domain left out in turn; a ViT 128 wide and 6 blocks deep, 64 px, 40 epochs from '
        'scratch; LiT-style EfficientNet-Lite0 as teacher.',
        (
            domain_arm(f'configs/baselines/task-loss_vit-128x6-p8_{data}.py'),
            replace(lfi, name=control, options=ARMS[control].options),
            lfi,
        ),
    )
