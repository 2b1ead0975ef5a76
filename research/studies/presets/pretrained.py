"""Study of students whose backbone begins with weights that labels of other classes have trained."""

from __future__ import annotations

from dataclasses import replace

from ..arms import build_arm
from ..settings import LFI_TIMES_4, MIXTURE, PRETRAINED_CHOSEN, Options, weight, with_settings
from .all_labels import TINY_SMALL
from .few_labels import TINY_STUDENT, few_labels, with_text_prediction
from .students import named_arms
from .tuning import tuning

# The study tests the first 20 classes of what is there, and the pretraining has the 30 others.
FIRST, NUMBER = 20, 30
LABELLED_PRETRAINING = replace(
    build_arm('task-loss', 'vit-128x6-p8_lit-lite0_tiny-imagenet-50'),
    name='labels-of-other-classes',
    options=(
        *(f'{loader}_dataloader.dataset.first_class={FIRST}' for loader in ('train', 'val', 'test')),
        *(f'{loader}_dataloader.dataset.max_classes={NUMBER}' for loader in ('train', 'val', 'test')),
        *(f'{part}.num_classes={NUMBER}' for part in ('model.head', 'model.head.loss', 'data_preprocessor')),
    ),
)
ARMS = ('task-loss', 'logit-kd', 'dho', 'dense-features', 'other-image', 'lfi')
TINY_FEW_PRETRAINED = replace(
    few_labels(
        TINY_SMALL,
        10,
        tuple(
            replace(with_settings(with_text_prediction(arm), PRETRAINED_CHOSEN), start=LABELLED_PRETRAINING)
            for arm in named_arms(ARMS, TINY_STUDENT, features=True)
        ),
        8,
    ),
    about='A student that the labels of 30 other classes of Tiny-ImageNet pretrained (225 images each, 8 '
    'epochs), tuned with 10 labels a class, other ones for each seed, and all other images without a label; '
    'half of each batch labelled, each epoch once over the others, 8 epochs. LFI and its negative '
    'control predict by the texts of the classes. 20 classes, 100 training images each, 64 px; validation on '
    '50 further training images of each class, test on the 50 official validation images of each, chance 5 '
    '%; LiT-style EfficientNet-Lite0 as teacher. DHO predicts by its second head.',
)


def _candidates(options: Options, other: Options) -> list[Options]:
    return [_at('0.003', options), _at('0.001', options), _at('0.001', other), *_low_rates(options)]


def _low_rates(options: Options) -> list[Options]:
    return [_at('0.0003', options), _at('0.0001', options)]


def _at(rate: str, options: Options) -> Options:
    return {'optim_wrapper.optimizer.lr': rate, **options}


# A tuned backbone may need another learning rate than one from scratch, and other weights of the teacher. The
# tuning has the task loss at 0.001 anyway.
PRETRAINED_SETTINGS: dict[str, list[Options]] = {
    'task-loss': [_at('0.003', {}), *_low_rates({})],
    'logit-kd': _candidates(weight('logit_kd', '4'), weight('logit_kd', '16')),
    'dho': _candidates(weight('dual_head', '4'), {**weight('dual_head', '4'), MIXTURE: '0'}),
    'dense-features': _candidates(weight('dense_features', '128'), weight('dense_features', '512')),
    'lfi': _candidates({}, LFI_TIMES_4),
}
TINY_FEW_PRETRAINED_TUNING = tuning(TINY_FEW_PRETRAINED, 8, PRETRAINED_SETTINGS)
