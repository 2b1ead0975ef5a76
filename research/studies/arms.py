"""The arms of the studies: ways to train a student, each a config and options.

Three kinds stand beside the method, `lfi`:

- a *baseline* trains the same student in another way,
- an *ablation* is LFI with one part taken away or changed,
- a *negative control* is another arm with the teacher's knowledge destroyed.

The method and the task loss alone have a config for each student, `configs/classification/lfi_{student}.py`
and `configs/baselines/task-loss_{student}.py`. All else is an entry of `ARMS`: an arm of the table and the
options that change it. A new arm is one more entry.
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
        name: as the tables call it.
        config: its path in the repository.
        options: `--cfg-options` of it.
        cache: of the teacher, from which it learns; arms of the same name share it. Defaults to none.
        epochs: of a complete schedule other than the config's own. Defaults to that.
        test_config: the path of the config that tests it. Defaults to the study's own tests, or to `config`.
        test_options: `--cfg-options` of testing alone, such as what reads its student. Defaults to none.
        start: the training that comes before, where whose student ends this one's begins. Defaults to none:
            it begins as its config says.
        seeds: how many it runs with, the first of the study's own. Defaults to all of them.
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
        """Its name without what a shell would want quoted."""
        return re.sub(r'[^\w.+-]+', '-', self.name).strip('-')


@dataclass(frozen=True)
class ArmSpec:
    """What an arm is, whatever its student.

    Args:
        kind: what it is to the method.
        about: what it does, for tables and pages.
        of: the arm that its options change. Defaults to a config of its own.
        options: `--cfg-options` that change it, as `Arm` has them. Defaults to none.
        reads: what it takes from the teacher: interaction 'maps', 'features' of the image, or nothing.
    """

    kind: Kind
    about: str
    of: str | None = None
    options: tuple[str, ...] = ()
    reads: Literal['maps', 'features'] | None = None


METHOD = 'lfi'
# Another supervision by the method's teacher. Where no concept is asked about, none is chosen.
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
        of='task-loss',
        options=('model.supervision.prior=None',),
    ),
    'queries': ArmSpec(
        'baseline',
        '8 learned queries, which patches read, and no further loss',
        of='task-loss',
        options=('model.backbone.num_queries=8',),
    ),
    'feature-mse': ArmSpec(
        'baseline',
        "copies the teacher's image embedding",
        of=METHOD,
        options=(*NO_INTERACTIONS, 'model.supervision.feature_mse.type=lfi.FeatureMSE'),
        reads='features',
    ),
    'logit-kd': ArmSpec(
        'baseline',
        "copies the teacher's zero-shot class probabilities",
        of=METHOD,
        options=(*NO_INTERACTIONS, 'model.supervision.logit_kd.type=lfi.LogitKD'),
        reads='features',
    ),
    'pairwise-affinity': ArmSpec(
        'baseline',
        "copies which locations of the teacher's features attend to which",
        of=METHOD,
        options=(*NO_INTERACTIONS, 'model.supervision.affinity.type=lfi.PairwiseAffinity'),
        reads='features',
    ),
    'dense-features': ArmSpec(
        'baseline',
        "copies the teacher's standardised features of each location",
        of=METHOD,
        options=(*NO_INTERACTIONS, 'model.supervision.dense_features.type=lfi.DenseFeatures'),
        reads='features',
    ),
    'lightly-train-v3': ArmSpec(
        'baseline',
        'copies which locations are alike, and which earlier images an image is like, by the losses of '
        "LightlyTrain's `distillationv3`",
        of=METHOD,
        options=(*NO_INTERACTIONS, 'model.supervision.lightly_train.type=lfi.LightlyTrain'),
        reads='features',
    ),
    'other-image-affinity': ArmSpec(
        'negative control',
        'pairwise affinity from the features of another image',
        of='pairwise-affinity',
        options=('model.control.type=lfi.OtherImage',),
        reads='features',
    ),
    'mean-affinity': ArmSpec(
        'negative control',
        "pairwise affinity from the data set's mean attention",
        of='pairwise-affinity',
        options=('model.control.type=lfi.MeanTarget',),
        reads='features',
    ),
    'other-image': ArmSpec(
        'negative control',
        "LFI with the teacher's maps of another image",
        of=METHOD,
        options=('model.control.type=lfi.OtherImage',),
        reads='maps',
    ),
    'shuffled-locations': ArmSpec(
        'negative control',
        "LFI with each image's own maps, whose locations are shuffled",
        of=METHOD,
        options=('model.control.type=lfi.ShuffledLocations',),
        reads='maps',
    ),
    'mean-target': ArmSpec(
        'negative control',
        "LFI with the data set's mean map of each concept",
        of=METHOD,
        options=('model.control.type=lfi.MeanTarget',),
        reads='maps',
    ),
    METHOD: ArmSpec('method', 'learning from interactions', reads='maps'),
    'lfi-spatial': ArmSpec(
        'ablation',
        'LFI without image-to-text interaction',
        of=METHOD,
        options=(f'{LOSS}.semantic_weight=0',),
        reads='maps',
    ),
    'lfi-semantic': ArmSpec(
        'ablation',
        'LFI without text-to-image interaction',
        of=METHOD,
        options=(f'{LOSS}.spatial_weight=0',),
        reads='maps',
    ),
    'lfi-no-presence': ArmSpec(
        'ablation',
        'LFI that does not learn presence',
        of=METHOD,
        options=(f'{LOSS}.presence_weight=0',),
        reads='maps',
    ),
    'lfi-write-back': ArmSpec(
        'ablation',
        'LFI with 8 learned queries too, which patches read',
        of=METHOD,
        options=('model.backbone.num_queries=8', 'model.backbone.write_back=gated'),
        reads='maps',
    ),
    'lfi-not-persistent': ArmSpec(
        'ablation',
        'queries that start anew in each block',
        of=METHOD,
        options=('model.backbone.persistent=False',),
        reads='maps',
    ),
    'lfi-logit-kd': ArmSpec(
        'ablation',
        "LFI whose predictions learn the teacher's zero-shot class probabilities too",
        of=METHOD,
        options=(
            'model.supervision.logit_kd.type=lfi.LogitKD',
            'model.supervision.logit_kd.loss_weight=1',
        ),
        reads='maps',
    ),
    'lfi-dense-features': ArmSpec(
        'ablation',
        "LFI that copies the teacher's standardised features of each location too",
        of=METHOD,
        options=(
            'model.supervision.dense_features.type=lfi.DenseFeatures',
            'model.supervision.dense_features.loss_weight=32',
        ),
        reads='features',
    ),
    'lfi-cached': ArmSpec(
        'ablation',
        'LFI from a cache of one look at each image, where LFI asks about each augmented view',
        of=METHOD,
        reads='maps',
    ),
    'lfi-each-view': ArmSpec(
        'ablation',
        'LFI that asks about each augmented view, where LFI learns from a cache of one look at each image',
        of=METHOD,
        reads='maps',
    ),
    'presence': ArmSpec(
        'ablation',
        'presence alone, without interactions',
        of=METHOD,
        options=(f'{LOSS}.spatial_weight=0', f'{LOSS}.semantic_weight=0'),
        reads='maps',
    ),
}


def of_kind(*kinds: Kind) -> tuple[str, ...]:
    """The names of the arms of these kinds, in the table's order."""
    return tuple(name for name, variety in ARMS.items() if variety.kind in kinds)


def arms_table() -> str:
    """All arms of the table, what they are and what they do, as Markdown."""
    rows = [(f'`{name}`', variety.kind, variety.about) for name, variety in ARMS.items()]
    return markdown.table(('arm', 'is', 'what it does'), rows)


def origin_of(name: str) -> str:
    """The baseline or the method that an ablation or a negative control changes; of these, itself."""
    while (variety := ARMS[name]).kind not in ('baseline', 'method'):
        assert variety.of is not None
        name = variety.of
    return name


def arm_of(
    name: str,
    student: str,
    *,
    folder: str = 'classification',
    plain: str | None = None,
    cache: str | None = None,
) -> Arm:
    """An arm of the table for one student.

    Args:
        name: in `ARMS`.
        student: how the names of the student's configs end.
        folder: of the method's config.
        plain: how the task loss's config ends, where it serves several teachers. Defaults to the student.
        cache: of the teacher. Defaults to none: the arm asks the teacher about each view.
    """
    options: tuple[str, ...] = ()
    base = name
    while (variety := ARMS[base]).of is not None:
        options = (*variety.options, *options)
        base = variety.of
    end = plain or student if base == 'task-loss' else student
    config = f'configs/{folder if base == METHOD else "baselines"}/{base}_{end}.py'
    return Arm(name, config, options, cache)


def compared_with(names: tuple[str, ...]) -> Mapping[str, str]:
    """The negative controls among the names, each with the arm whose knowledge it destroys."""
    found = {name: ARMS[name] for name in names if name in ARMS}
    return {name: arm.of for name, arm in found.items() if arm.kind == 'negative control' and arm.of}
