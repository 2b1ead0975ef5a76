"""Arms of the studies: ways to train a student, each a config with options.

There are three kinds beside the method, `lfi`:

- a *baseline* trains the same student in another way,
- an *ablation* is LFI with one part removed or changed,
- a *negative control* is another arm with the teacher's knowledge destroyed.

The method and the task loss alone have a config for each student, `configs/classification/lfi_{student}.py`
and `configs/baselines/task-loss_{student}.py`. Other arms are entries of `ARMS`: a base arm and the options
that change it. To add an arm, add an entry.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from lfi.utils import markdown

Kind = Literal['baseline', 'method', 'ablation', 'negative control']


@dataclass(frozen=True)
class Arm:
    """One way to train a student.

    Args:
        name: name in tables.
        config: path of the config in the repository.
        options: `--cfg-options` of training and test. Defaults to none.
        cache: name of the teacher's cache; arms with the same name share it. Defaults to None: the arm asks
            the teacher about each view.
        epochs: epochs of a complete schedule. Defaults to the config's.
        test_config: path of the config of the test. Defaults to the tests of the study, or to `config`.
        test_options: `--cfg-options` of the test alone, such as the student's prediction. Defaults to none.
        start: arm whose trained backbone initialises this one. Defaults to None: the config's weights.
        seeds: number of seeds, counted from the study's first. Defaults to all seeds of the study.
    """

    name: str
    config: str
    options: tuple[str, ...] = ()
    cache: str | None = None
    epochs: int | None = None
    test_config: str | None = None
    test_options: tuple[str, ...] = ()
    start: Arm | None = None
    seeds: int | None = None

    @property
    def folder(self) -> str:
        """Name without characters that a shell would need quoted."""
        return re.sub(r'[^\w.+-]+', '-', self.name).strip('-')


@dataclass(frozen=True)
class ArmSpec:
    """Definition of an arm, independent of the student.

    Args:
        kind: kind of arm.
        about: description for tables and pages.
        base: name of the arm that `options` change. Defaults to None: the arm has a config of its own.
        options: `--cfg-options` on top of the base. Defaults to none.
        teacher_output: what the arm learns from, interaction 'maps' or image 'features'. Defaults to None: no
            teacher.
    """

    kind: Kind
    about: str
    base: str | None = None
    options: tuple[str, ...] = ()
    teacher_output: Literal['maps', 'features'] | None = None


METHOD = 'lfi'
# Options of baselines with the method's teacher: no interactions, and so no choice of concepts.
NO_INTERACTIONS = (
    'model.supervision.interactions=None',
    'model.readout=None',
    'model.teacher.max_concepts=None',
)
LOSS = 'model.supervision.interactions.loss'
ARMS: dict[str, ArmSpec] = {
    'task-loss': ArmSpec('baseline', 'the task loss alone'),
    'no-prior': ArmSpec(
        'baseline',
        'the task loss without the prior that every other arm has',
        base='task-loss',
        options=('model.supervision.prior=None',),
    ),
    'queries': ArmSpec(
        'baseline',
        '8 learned queries, which patches read, and no further loss',
        base='task-loss',
        options=('model.backbone.num_queries=8',),
    ),
    'feature-mse': ArmSpec(
        'baseline',
        "copies the teacher's image embedding",
        base=METHOD,
        options=(*NO_INTERACTIONS, 'model.supervision.feature_mse.type=lfi.FeatureMSE'),
        teacher_output='features',
    ),
    'logit-kd': ArmSpec(
        'baseline',
        "copies the teacher's zero-shot class probabilities",
        base=METHOD,
        options=(*NO_INTERACTIONS, 'model.supervision.logit_kd.type=lfi.LogitKD'),
        teacher_output='features',
    ),
    'dho': ArmSpec(
        'baseline',
        "copies the teacher's zero-shot class probabilities by a second head; predicts by it or both (DHO)",
        base=METHOD,
        options=(
            *NO_INTERACTIONS,
            'model.supervision.dual_head.type=lfi.DualHead',
            'model.predict_by.type=lfi.ByMixture',
            'model.predict_by.second.type=lfi.ByDualHead',
        ),
        teacher_output='features',
    ),
    'pairwise-affinity': ArmSpec(
        'baseline',
        "copies which locations of the teacher's features attend to which",
        base=METHOD,
        options=(*NO_INTERACTIONS, 'model.supervision.affinity.type=lfi.PairwiseAffinity'),
        teacher_output='features',
    ),
    'dense-features': ArmSpec(
        'baseline',
        "copies the teacher's standardised features of each location",
        base=METHOD,
        options=(*NO_INTERACTIONS, 'model.supervision.dense_features.type=lfi.DenseFeatures'),
        teacher_output='features',
    ),
    'lightly-train-v3': ArmSpec(
        'baseline',
        'copies which locations are alike, and which earlier images an image is like, by the losses of '
        "LightlyTrain's `distillationv3`",
        base=METHOD,
        options=(*NO_INTERACTIONS, 'model.supervision.lightly_train.type=lfi.LightlyTrain'),
        teacher_output='features',
    ),
    'other-image-affinity': ArmSpec(
        'negative control',
        'pairwise affinity from the features of another image',
        base='pairwise-affinity',
        options=('model.control.type=lfi.OtherImage',),
        teacher_output='features',
    ),
    'mean-affinity': ArmSpec(
        'negative control',
        "pairwise affinity from the data set's mean attention",
        base='pairwise-affinity',
        options=('model.control.type=lfi.MeanTarget',),
        teacher_output='features',
    ),
    'other-image': ArmSpec(
        'negative control',
        "LFI with the teacher's maps of another image",
        base=METHOD,
        options=('model.control.type=lfi.OtherImage',),
        teacher_output='maps',
    ),
    'shuffled-locations': ArmSpec(
        'negative control',
        "LFI with each image's own maps, whose locations are shuffled",
        base=METHOD,
        options=('model.control.type=lfi.ShuffledLocations',),
        teacher_output='maps',
    ),
    'mean-target': ArmSpec(
        'negative control',
        "LFI with the data set's mean map of each concept",
        base=METHOD,
        options=('model.control.type=lfi.MeanTarget',),
        teacher_output='maps',
    ),
    METHOD: ArmSpec('method', 'learning from interactions', teacher_output='maps'),
    'lfi-spatial': ArmSpec(
        'ablation',
        'LFI without image-to-text interaction',
        base=METHOD,
        options=(f'{LOSS}.semantic_weight=0',),
        teacher_output='maps',
    ),
    'lfi-semantic': ArmSpec(
        'ablation',
        'LFI without text-to-image interaction',
        base=METHOD,
        options=(f'{LOSS}.spatial_weight=0',),
        teacher_output='maps',
    ),
    'lfi-no-presence': ArmSpec(
        'ablation',
        'LFI that does not learn presence',
        base=METHOD,
        options=(f'{LOSS}.presence_weight=0',),
        teacher_output='maps',
    ),
    'lfi-write-back': ArmSpec(
        'ablation',
        'LFI with 8 learned queries too, which patches read',
        base=METHOD,
        options=('model.backbone.num_queries=8', 'model.backbone.write_back=gated'),
        teacher_output='maps',
    ),
    'lfi-not-persistent': ArmSpec(
        'ablation',
        'queries that start anew in each block',
        base=METHOD,
        options=('model.backbone.persistent=False',),
        teacher_output='maps',
    ),
    'lfi-fast': ArmSpec(
        'ablation',
        'LFI whose queries start anew in each of the last two blocks, which alone are supervised',
        base=METHOD,
        options=('model.backbone.persistent=False', 'model.backbone.interaction_layers=[4,5]'),
        teacher_output='maps',
    ),
    'lfi-logit-kd': ArmSpec(
        'ablation',
        "LFI whose predictions learn the teacher's zero-shot class probabilities too",
        base=METHOD,
        options=(
            'model.supervision.logit_kd.type=lfi.LogitKD',
            'model.supervision.logit_kd.loss_weight=1',
        ),
        teacher_output='maps',
    ),
    'lfi-dense-features': ArmSpec(
        'ablation',
        "LFI that copies the teacher's standardised features of each location too",
        base=METHOD,
        options=(
            'model.supervision.dense_features.type=lfi.DenseFeatures',
            'model.supervision.dense_features.loss_weight=32',
        ),
        teacher_output='features',
    ),
    'lfi-cached': ArmSpec(
        'ablation',
        'LFI from a cache of one look at each image, where LFI asks about each augmented view',
        base=METHOD,
        teacher_output='maps',
    ),
    'lfi-each-view': ArmSpec(
        'ablation',
        'LFI that asks about each augmented view, where LFI learns from a cache of one look at each image',
        base=METHOD,
        teacher_output='maps',
    ),
    'presence': ArmSpec(
        'ablation',
        'presence alone, without interactions',
        base=METHOD,
        options=(f'{LOSS}.spatial_weight=0', f'{LOSS}.semantic_weight=0'),
        teacher_output='maps',
    ),
}


def arms_of_kind(*kinds: Kind) -> tuple[str, ...]:
    """Return the names of the arms of the given kinds, in the order of `ARMS`."""
    return tuple(name for name, spec in ARMS.items() if spec.kind in kinds)


def arms_table() -> str:
    """Return the kind and description of each arm, as Markdown."""
    rows = [(f'`{name}`', spec.kind, spec.about) for name, spec in ARMS.items()]
    return markdown.table(('arm', 'is', 'what it does'), rows)


def root_arm(name: str) -> str:
    """Return the baseline or the method from which an arm derives: for these, the arm itself."""
    while (spec := ARMS[name]).kind not in ('baseline', 'method'):
        assert spec.base is not None
        name = spec.base
    return name


def build_arm(
    name: str,
    student: str,
    *,
    folder: str = 'classification',
    plain: str | None = None,
    cache: str | None = None,
) -> Arm:
    """Build an arm of `ARMS` for a student.

    Args:
        name: name of the arm in `ARMS`.
        student: suffix of the names of the student's configs.
        folder: folder of the method's config. Defaults to 'classification'.
        plain: suffix of the task loss's config, if several teachers share it. Defaults to `student`.
        cache: name of the teacher's cache. Defaults to None: the arm asks the teacher about each view.
    """
    options: tuple[str, ...] = ()
    base = name
    while (spec := ARMS[base]).base is not None:
        options = (*spec.options, *options)
        base = spec.base
    suffix = plain or student if base == 'task-loss' else student
    config = f'configs/{folder if base == METHOD else "baselines"}/{base}_{suffix}.py'
    return Arm(name, config, options, cache)


def control_references(names: tuple[str, ...]) -> Mapping[str, str]:
    """Map the negative controls among the names to the arm whose knowledge each destroys."""
    specs = {name: ARMS[name] for name in names if name in ARMS}
    return {name: spec.base for name, spec in specs.items() if spec.kind == 'negative control' and spec.base}
