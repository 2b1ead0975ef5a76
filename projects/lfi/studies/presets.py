"""The studies that `tools/reproduce.py` runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from .arms import ARMS, METHOD, Arm, arm_of, compared_with, of_kind, origin_of
from .settings import (
    FEW_BOXES_CHOSEN,
    FEW_BOXES_SETTINGS,
    FEW_CHOSEN,
    FEW_SETTINGS,
    PHOTOS_CHOSEN,
    PHOTOS_FEW_CHOSEN,
    SETTINGS,
    SHAPES_FEW_SETTINGS,
    Options,
    chosen,
    tuned,
)

# Of arms that are far from the method, in studies of more.
FEWER_SEEDS = 3


@dataclass(frozen=True)
class Preset:
    """A study.

    Args:
        about: data, schedule, what stands behind the numbers.
        arms: the baseline first.
        method: the arm to be judged.
        metrics: of the test, by their names in the log; a table for each.
        validation: metric of the validation. Defaults to that of the test.
        tests: configs of the tests, by the names that begin their metrics (`pacs/domain/mean`); '' begins
            none. Defaults to the arm's own config.
        options: `--cfg-options` of all arms, such as a validation split that is not the test's.
        test_options: `--cfg-options` of testing, such as another split.
        published: the paper's own gains over its baseline, by metric, for a column of their own.
        seeds: Defaults to (0, 1, 2).
        short: epochs of the method's complete shorter schedules, for the equal finish. Defaults to none.
        leaves_domains_out: whether each domain of the data is left out of training in turn, and tested by the
            checkpoint that is best on the others. Defaults to False.
        seed_options: `--cfg-options` in which `{seed}` stands for the run's seed.
    """

    about: str
    arms: tuple[Arm, ...]
    method: str = 'lfi'
    metrics: tuple[str, ...] = ('accuracy/top1',)
    validation: str | None = None
    tests: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()
    test_options: tuple[str, ...] = ()
    published: Mapping[str, str] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2)
    short: tuple[int, ...] = ()
    leaves_domains_out: bool = False
    seed_options: tuple[str, ...] = ('randomness.seed={seed}',)

    def seeds_of(self, arm: Arm) -> tuple[int, ...]:
        """Those that an arm runs with."""
        return self.seeds[: arm.seeds]

    @property
    def negative_controls(self) -> Mapping[str, str]:
        """The negative controls, each with the arm whose image-specific knowledge it destroys."""
        return compared_with(tuple(arm.name for arm in self.arms))

    @property
    def short_arms(self) -> tuple[Arm, ...]:
        """The method in its shorter schedules."""
        methods = [arm for arm in self.arms if arm.name == self.method]
        return tuple(
            replace(method, name=f'{method.name} in {epochs} epochs', epochs=epochs, seeds=FEWER_SEEDS)
            for epochs in self.short
            for method in methods
        )


# `presence` is a baseline of zero-shot tests only; a part changes the model, and learns from the same maps.
PARTS = tuple(
    name
    for name in of_kind('ablation')
    if name.startswith(f'{METHOD}-') and ARMS[name].options and ARMS[name].reads == 'maps'
)


def classification_arms(student: str, plain: str | None = None) -> tuple[Arm, ...]:
    """All arms of a student; arguments as of `named_arms`."""
    return named_arms((*of_kind('baseline', 'negative control', 'method'), *PARTS), student, plain)


def named_arms(
    names: tuple[str, ...], student: str, plain: str | None = None, features: bool = False
) -> tuple[Arm, ...]:
    """Some arms of a student.

    Args:
        names: of the arms, in the table's order.
        student: how the names of its configs end.
        plain: how that of the task loss alone ends, where it serves several teachers. Defaults to the same.
        features: whether arms that read features learn from a cache too, which a CNN teacher allows: the
            maps' own source, so that all arms learn from the same look at each image. Defaults to asking the
            teacher about each view.
    """
    cached = ('maps', 'features') if features else ('maps',)
    return tuple(
        arm_of(name, student, plain=plain, cache=ARMS[name].reads if ARMS[name].reads in cached else None)
        for name in names
    )


def in_fewer_seeds(arms: tuple[Arm, ...], names: tuple[str, ...]) -> tuple[Arm, ...]:
    """The arms; those of these names run with the first three seeds of the study."""
    return tuple(replace(arm, seeds=FEWER_SEEDS) if arm.name in names else arm for arm in arms)


def each_view(arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
    """The arms without a cache: the teacher is asked about each augmented view."""
    return tuple(replace(arm, cache=None) for arm in arms)


# Where the student of a baseline looks: what its head's classes are seen by.
BY_HEAD = ('model.type=lfi.ClassActivationClassifier',)
# Heads that can be asked so in all studies with labels; the options of other baselines do not fit.
BY_HEAD_ARMS = ('task-loss', 'logit-kd', 'dense-features')


def where_config(student: str) -> str:
    """The config that tests where a student looks, by how the names of its configs end."""
    return f'configs/evaluation/lfi_{student}_semantic-consistency.py'


def located(arms: tuple[Arm, ...], student: str) -> tuple[Arm, ...]:
    """The arms; those whose student can say where it looks are tested by the config that asks it."""
    found = []
    for arm in arms:
        if origin_of(arm.name) == METHOD:
            arm = replace(arm, test_config=where_config(student))
        elif arm.name in BY_HEAD_ARMS:
            arm = replace(arm, test_config=where_config(student), test_options=BY_HEAD)
        found.append(arm)
    return tuple(found)


SHAPES_STUDENT = 'vit-tiny_shapes'
TINY_STUDENT = 'vit-128x6-p8_lit-lite0_tiny-imagenet-20'
# Not what is close to LFI: there an interval matters.
SHAPES_FEWER_SEEDS = (
    'queries',
    'feature-mse',
    'shuffled-attention',
    'mean-attention',
    'shuffled-places',
    'mean-target',
    'lfi-write-back',
    'lfi-not-persistent',
    'lfi-logit-kd',
)
SHAPES = Preset(
    about='Embedded Shapes, 3,200 training images of 64 px, 10 epochs from scratch, 2,000 test images, '
    'chance 5 %; the embedded teacher, which has seen instance masks.',
    # Arms that read features ask the teacher about each view; so do LFI, and what is made of it.
    arms=in_fewer_seeds(
        located(
            (
                *each_view(classification_arms(SHAPES_STUDENT)),
                *named_arms(('lfi-cached',), SHAPES_STUDENT),
            ),
            SHAPES_STUDENT,
        ),
        SHAPES_FEWER_SEEDS,
    ),
    test_options=('test_dataloader.dataset.split=test', 'test_dataloader.dataset.num_images=2000'),
    # Three could not tell LFI from logit KD.
    seeds=(0, 1, 2, 3, 4),
    short=(4, 7),
)
# Controls and LFI's parts are compared on Shapes, which needs no data. Dense features are ahead of LFI here.
TINY_SMALL_ARMS = (
    *of_kind('baseline'),
    'shuffled-attention',
    'shuffled-images',
    'mean-target',
    'lfi',
    'lfi-dense-features',
)
# Attention transfer and the mean map had three, and were close.
TINY_SMALL_FEWER_SEEDS = (
    'no-prior',
    'queries',
    'feature-mse',
    'logit-kd',
    'shuffled-attention',
)
TINY_SMALL = Preset(
    about='20 classes of Tiny-ImageNet with 100 training images each, 64 px, 15 epochs from scratch; '
    'validation on 50 further training images of each class, test on the 50 official validation images of '
    'each, chance 5 %; '
    'LiT-style EfficientNet-Lite0 as teacher.',
    arms=in_fewer_seeds(
        located(
            tuple(
                chosen(arm, PHOTOS_CHOSEN) for arm in named_arms(TINY_SMALL_ARMS, TINY_STUDENT, features=True)
            ),
            TINY_STUDENT,
        ),
        TINY_SMALL_FEWER_SEEDS,
    ),
    options=('val_dataloader.dataset.split=train', 'val_dataloader.dataset.images_per_class=(100,150)'),
    # Three could not tell here either.
    seeds=(0, 1, 2, 3, 4),
    short=(6, 9),
)
# With the best baseline of tiny-small; each of its baselines has a config for these classes too.
TINY_50_ARMS = ('task-loss', 'dense-features', 'shuffled-images', 'lfi')
TINY_50 = Preset(
    about='50 classes of Tiny-ImageNet with 225 training images each, 64 px, 8 epochs from scratch: 14 '
    'minutes a cell on one core, and 18 where images are asked about; validation on 25 further '
    'training images of each class, test on the 50 official validation images of each, chance 2 %; '
    'LiT-style EfficientNet-Lite0 as teacher. Settings as with 20 classes.',
    arms=named_arms(TINY_50_ARMS, 'vit-128x6-p8_lit-lite0_tiny-imagenet-50', features=True),
    options=('val_dataloader.dataset.split=train', 'val_dataloader.dataset.images_per_class=(225,250)'),
)
TINY_FULL = Preset(
    about='Tiny-ImageNet, ViT-Tiny/8 at 64 px, 100 epochs from scratch, chance 0.5 %; the validation images '
    'serve as test images too; CLIP ViT-B/16 by ClearCLIP as teacher.',
    arms=classification_arms('vit-tiny-p8_clip-b16_tiny-imagenet', plain='vit-tiny-p8_tiny-imagenet'),
    published={'accuracy/top1': '+3.3'},
)
DETECTOR = 'mask-rcnn_vit-tiny_shapes'
SHAPES_DETECTOR = Preset(
    about='Embedded Shapes with masks, a small Mask R-CNN from scratch, 1,200 training images of 96 px, 8 '
    'epochs: 20 minutes a cell on one core; validation on 400 images, test on 1,000; the embedded teacher, '
    'which has seen instance masks.',
    arms=(
        arm_of('task-loss', DETECTOR),
        arm_of('no-prior', DETECTOR),
        replace(
            arm_of('shuffled-images', DETECTOR, folder='detection', cache='maps'),
            options=('model.type=lfi.ShuffledImagesMaskRCNN',),
        ),
        arm_of('lfi', DETECTOR, folder='detection', cache='maps'),
    ),
    metrics=('coco/bbox_mAP', 'coco/segm_mAP'),
    test_options=('test_dataloader.dataset.split=test', 'test_dataloader.dataset.num_images=1000'),
)
FEW_BOXES_ARMS = ('task-loss', 'shuffled-images', 'lfi')
SHAPES_DETECTOR_FEW = replace(
    SHAPES_DETECTOR,
    about='Embedded Shapes with masks, a small Mask R-CNN from scratch, 1,200 training images of 96 px, of '
    'which 120 have labels, other ones for each seed; half of each batch labelled, 8 epochs, each once over '
    'the images without labels; validation on 400 images, test on 1,000; the embedded teacher, which has '
    'seen instance masks.',
    arms=tuple(chosen(arm, FEW_BOXES_CHOSEN) for arm in SHAPES_DETECTOR.arms if arm.name in FEW_BOXES_ARMS),
    options=('train_dataloader.few_labels.labelled_images=120',),
    seed_options=(*SHAPES_DETECTOR.seed_options, 'train_dataloader.few_labels.seed={seed}'),
)
COCO_FULL = Preset(
    about='COCO, Mask R-CNN on ViT-Base/16 with SimpleFPN, 12 epochs; the validation images serve as test '
    'images too; CLIP ViT-B/16 at 448 px by ClearCLIP as teacher.',
    arms=(
        arm_of('task-loss', 'mask-rcnn_vit-base-p16_simple-fpn_1x_coco'),
        arm_of('lfi', 'mask-rcnn_vit-base-p16_simple-fpn_1x_coco', folder='detection', cache='maps'),
    ),
    metrics=('coco/bbox_mAP', 'coco/segm_mAP'),
    published={'coco/bbox_mAP': '+1.6', 'coco/segm_mAP': '+2.4'},
)
ZERO_SHOT = Preset(
    about='Trained on what is there of Tiny-ImageNet, tested by presence on all domains that are there '
    'of PACS (chance 14 %) and VLCS (20 %), whose classes are named at test time; top-1, mean of the '
    'domains. A ViT 128 wide and 6 blocks deep, 64 px, 8 epochs from scratch; validation on Tiny-ImageNet; '
    'LiT-style EfficientNet-Lite0 as teacher.',
    arms=tuple(
        arm_of(name, 'vit-128x6-p8_lit-lite0_tiny-imagenet', cache='maps') for name in ('presence', 'lfi')
    ),
    metrics=('pacs/domain/mean', 'vlcs/domain/mean'),
    validation='accuracy/top1',
    tests={
        name: f'configs/domain_generalization/zero-shot_vit-128x6-p8_lit-lite0_tiny-imagenet_{name}.py'
        for name in ('pacs', 'vlcs')
    },
    published={'pacs/domain/mean': '+2.4', 'vlcs/domain/mean': '+9.3'},
)


def in_epochs(about: str, epochs: int) -> str:
    """What a study is about, in another number of epochs."""
    return re.sub(r'\d+ epochs from scratch', f'{epochs} epochs from scratch', about)


# The reference of `shapes` still rises at its end.
LONG_ARMS = ('task-loss', 'attention-transfer', 'shuffled-images', 'lfi')
SHAPES_LONG = replace(
    SHAPES,
    about=in_epochs(SHAPES.about, 20),
    arms=tuple(replace(arm, epochs=20) for arm in SHAPES.arms if arm.name in LONG_ARMS),
    seeds=Preset.seeds,
    short=(),
)
# What the students from scratch have beyond mmpretrain's ViT, undone.
PLAIN = (
    'model.backbone.stem=None',
    'model.backbone.with_cls_token=True',
    'model.backbone.out_type=cls_token',
    'model.affinity_prior=None',
)
SHAPES_PLAIN = replace(
    SHAPES,
    about=f'The plain ViT: a class token, neither stem nor prior. {SHAPES.about}',
    arms=tuple(
        replace(arm, options=(*arm.options, *PLAIN))
        for arm in each_view(named_arms(('task-loss', 'shuffled-images', 'lfi'), SHAPES_STUDENT))
    ),
    seeds=Preset.seeds,
    short=(),
)
FEW_ARMS = (
    'task-loss',
    'logit-kd',
    'dense-features',
    'lightly-train-v3',
    'shuffled-images',
    'lfi',
    'lfi-logit-kd',
)


def few_labels(preset: Preset, labels_per_class: int, arms: tuple[Arm, ...], epochs: int) -> Preset:
    """A study in which few labels are known; the task loss alone sees all images too, by the prior.

    Args:
        preset: the study with all labels.
        labels_per_class: how many labels of each class are known. Each seed has its own.
        arms: the baseline first.
        epochs: of complete schedules; one passes once over the images without a label.
    """
    return replace(
        preset,
        about=f'{labels_per_class} labels a class, other ones for each seed, and all other images without a '
        'label; half of each batch labelled, each epoch once over the others. LFI and its negative control '
        f'predict by the texts of the classes. {in_epochs(preset.about, epochs)}',
        arms=tuple(replace(arm, epochs=epochs) for arm in arms),
        options=(*preset.options, f'train_dataloader.few_labels.labels_per_class={labels_per_class}'),
        seeds=Preset.seeds,
        seed_options=(*preset.seed_options, 'train_dataloader.few_labels.seed={seed}'),
        short=(),
    )


# Where few images have a label the texts know more than the head: the teacher teaches them on all images.
BY_TEXT = {
    'lfi': 'lfi.LFITextClassifier',
    'lfi-logit-kd': 'lfi.LFITextClassifier',
    'lfi-cached': 'lfi.LFITextClassifier',
    'lfi-dense-features': 'lfi.LFITextClassifier',
    'shuffled-images': 'lfi.ShuffledImagesTextClassifier',
}


def by_text(arm: Arm) -> Arm:
    """An arm with LFI's read-out predicts by the texts of the classes; others stay as they are."""
    if arm.name not in BY_TEXT:
        return arm
    others = tuple(option for option in arm.options if not option.startswith('model.type='))
    return replace(arm, options=(*others, f'model.type={BY_TEXT[arm.name]}'))


LABELS_PER_CLASS = (5, 10, 25)
# What else LFI can do is tried with this many.
LABELS_OF_VARIANTS = 10
VARIANTS = ('lfi-cached', 'lfi-dense-features')
# As with all labels.
SHAPES_FEW_ARMS = (
    *each_view(named_arms(FEW_ARMS, SHAPES_STUDENT)),
    *named_arms(('lfi-cached',), SHAPES_STUDENT),
)
TINY_FEW_ARMS = named_arms((*FEW_ARMS, 'lfi-dense-features'), TINY_STUDENT, features=True)
# By the studies' name the study with all labels, its arms, what of them has settings of its own, and the
# epochs that have about as many steps as with all labels.
FEW = {
    name: (preset, tuple(chosen(by_text(arm), settings) for arm in arms), epochs)
    for name, preset, arms, settings, epochs in (
        ('shapes-few', SHAPES, SHAPES_FEW_ARMS, FEW_CHOSEN, 6),
        ('tiny-few', TINY_SMALL, TINY_FEW_ARMS, PHOTOS_FEW_CHOSEN, 8),
    )
}
FEW_LABELS = {
    f'{name}-{number}': few_labels(
        preset,
        number,
        tuple(arm for arm in arms if number == LABELS_OF_VARIANTS or arm.name not in VARIANTS),
        epochs,
    )
    for name, (preset, arms, epochs) in FEW.items()
    for number in LABELS_PER_CLASS
}
RESNET_STUDENT = 'resnet18_shapes'
SHAPES_FEW_RESNET = few_labels(
    replace(SHAPES, about=f'A narrow ResNet-18, in an adapter where it is asked. {SHAPES.about}'),
    10,
    (
        # mmpretrain's own classifier would learn from the label -1.
        replace(arm_of('task-loss', RESNET_STUDENT), options=('model.type=lfi.LabelledImageClassifier',)),
        # The settings are those of the ViT.
        *(
            chosen(by_text(arm), FEW_CHOSEN)
            for arm in each_view(named_arms(('shuffled-images', 'lfi'), RESNET_STUDENT))
        ),
    ),
    6,
)
NO_LABEL_ARMS = ('logit-kd', 'shuffled-images', 'lfi', 'lfi-logit-kd')


def no_labels(few: str, student: str) -> Preset:
    """A study without labels, whose reference is text-logit KD: its head learns the teacher's probabilities.

    Args:
        few: the name of the studies of few labels, whose arms these are.
        student: how the names of its configs end.
    """
    preset, arms, epochs = FEW[few]
    found = {arm.name: arm if arm.name in BY_TEXT else replace(arm, test_options=BY_HEAD) for arm in arms}
    return replace(
        few_labels(preset, 0, tuple(found[name] for name in NO_LABEL_ARMS), epochs),
        about='No label at all: classes are named when the student is tested. LFI predicts by presence; '
        "logit-kd has a head that learns the teacher's zero-shot class probabilities. "
        f'{in_epochs(preset.about, epochs)}',
        tests={'': where_config(student)},
    )


NO_LABELS = {
    'shapes-none': no_labels('shapes-few', SHAPES_STUDENT),
    'tiny-none': no_labels('tiny-few', TINY_STUDENT),
}


PRETRAINING = Arm('pretraining', 'configs/pretraining/lfi-pretrain_vit-tiny_shapes.py', cache='maps')
# How each arm's student is pretrained: the baseline's weights stay as they were drawn, for its rate is 0
# throughout; the running statistics of its stem alone see images.
PRETRAINED = {
    'task-loss': replace(
        PRETRAINING,
        name='untrained',
        options=('optim_wrapper.optimizer.lr=0', 'param_scheduler.1.eta_min=0'),
        epochs=2,
    ),
    'shuffled-images': replace(
        PRETRAINING, name='shuffled-images', options=('model.type=lfi.ShuffledImagesPretrainer',)
    ),
    'lfi': replace(PRETRAINING, name='lfi'),
}
SHAPES_PRETRAINING = replace(
    few_labels(
        SHAPES,
        10,
        tuple(
            replace(arm_of('task-loss', SHAPES_STUDENT), name=name, start=start)
            for name, start in PRETRAINED.items()
        ),
        6,
    ),
    about='Pretraining on all 3,200 embedded Shapes images without labels, 64 px, 10 epochs from scratch, '
    'and then the task loss with 10 labels a class, other ones for each seed, half of each batch labelled, 6 '
    'epochs. task-loss is not pretrained, and shuffled-images is pretrained by the maps of other images. '
    '2,000 test images, chance 5 %; frozen features name one half of these by the labels of the other. The '
    'embedded teacher, which has seen instance masks; settings are not tuned.',
    metrics=('accuracy/top1', 'start/knn/top1', 'start/linear/top1'),
    validation='accuracy/top1',
)


def tuning(preset: Preset, epochs: int, settings: Mapping[str, Sequence[Options]] = SETTINGS) -> Preset:
    """The settings on one seed that the study itself does not use.

    Args:
        preset: the study.
        epochs: of complete schedules, which may be shorter than the study's: enough to rank settings.
        settings: that are tried, by the arm's name. Defaults to those for studies with all labels.
    """
    about = (
        'Settings of each way to distil, to be chosen by the validation images, in complete schedules of '
        f'{epochs} epochs.'
    )
    return replace(
        preset,
        about=f'{about} The study: {preset.about}',
        arms=tuple(
            replace(arm, test_config=None, test_options=(), epochs=epochs)
            for arm in tuned(preset.arms, settings)
        ),
        metrics=preset.metrics[:1],
        tests={},
        seeds=(100,),
        short=(),
    )


def leave_one_out(
    about: str, arms: tuple[Arm, ...], options: tuple[str, ...] = (), seeds: tuple[int, ...] = (0, 1, 2)
) -> Preset:
    """A study by DomainBed's protocol: each domain of the data is left out of training in turn.

    Args:
        about: data and schedule.
        arms: the baseline first; the last one is the method to be judged.
        options: `--cfg-options` of all arms. Defaults to none.
        seeds: of the runs.
    """
    return Preset(
        about,
        arms,
        method=arms[-1].name,
        metrics=('domain/mean',),
        options=(*options, 'default_hooks.checkpoint.max_keep_ckpts=1'),
        seeds=seeds,
        leaves_domains_out=True,
        # DomainBed's trials differ in their split too.
        seed_options=(
            'randomness.seed={seed}',
            'train_dataloader.dataset.seed={seed}',
            'val_dataloader.dataset.seed={seed}',
        ),
    )


def domain_arm(config: str, cache: str | None = None) -> Arm:
    """An arm that is a config, called as its file."""
    return Arm(Path(config).stem, config, cache=cache)


def domain_study(data: str, about: str) -> Preset:
    """The task loss and LFI on one data set of domains."""
    return leave_one_out(
        f'{about}, each domain left out in turn; a ViT 128 wide and 6 blocks deep, 64 px, 40 epochs from '
        'scratch; LiT-style EfficientNet-Lite0 as teacher.',
        (
            domain_arm(f'configs/baselines/task-loss_vit-128x6-p8_{data}.py'),
            domain_arm(f'configs/domain_generalization/lfi_vit-128x6-p8_lit-lite0_{data}.py', cache='cache'),
        ),
    )


PRESETS = {
    'shapes': SHAPES,
    # From a cache, as all of LFI was when it was tuned.
    'shapes-tuning': tuning(replace(SHAPES, arms=classification_arms(SHAPES_STUDENT)), 5),
    'shapes-few-tuning': tuning(
        few_labels(SHAPES, 10, tuple(map(by_text, named_arms(FEW_ARMS, SHAPES_STUDENT))), 6),
        6,
        SHAPES_FEW_SETTINGS,
    ),
    'shapes-long': SHAPES_LONG,
    'shapes-plain': SHAPES_PLAIN,
    'shapes-few-resnet': SHAPES_FEW_RESNET,
    'shapes-detector': SHAPES_DETECTOR,
    'shapes-detector-few': SHAPES_DETECTOR_FEW,
    'shapes-detector-few-tuning': tuning(SHAPES_DETECTOR_FEW, 8, FEW_BOXES_SETTINGS),
    'shapes-pretraining': SHAPES_PRETRAINING,
    'tiny-small': TINY_SMALL,
    'tiny-small-tuning': tuning(TINY_SMALL, 8),
    'tiny-few-tuning': tuning(FEW_LABELS['tiny-few-10'], 8, FEW_SETTINGS),
    'tiny-50': TINY_50,
    'tiny-full': TINY_FULL,
    'coco-full': COCO_FULL,
    'dg-pacs': domain_study('pacs', 'What is there of PACS'),
    'dg-vlcs': domain_study('vlcs', 'What is there of VLCS'),
    'zero-shot': ZERO_SHOT,
    **FEW_LABELS,
    **NO_LABELS,
}
# Several studies under one name.
GROUPS = {
    'dg': ('dg-pacs', 'dg-vlcs', 'zero-shot'),
    **{name: tuple(f'{name}-{number}' for number in LABELS_PER_CLASS) for name in ('shapes-few', 'tiny-few')},
}
