"""A data preprocessor that mixes says what it mixed, and mixes as ever."""

import copy
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lfi.models.batches.mixtures import RecordedBatchAugment, record_mixtures
from lfi.structures import recorded_mixture
from mmengine.runner import set_random_seed
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.models.utils.batch_augments import Mixup
from mmpretrain.registry import BATCH_AUGMENTS
from mmpretrain.structures import DataSample

AUGMENTS = {
    'Mixup': dict(type='Mixup', alpha=0.8),
    'CutMix': dict(type='CutMix', alpha=1.0),
    'CutMix within bounds': dict(type='CutMix', alpha=1.0, cutmix_minmax=[0.2, 0.8]),
    'CutMix as drawn': dict(type='CutMix', alpha=1.0, correct_lam=False),
    'ResizeMix': dict(type='ResizeMix', alpha=1.0),
}
SIZE = (40, 24)


def preprocessor(*augments, probs=None):
    return ClsDataPreprocessor(num_classes=5, batch_augments=dict(augments=list(augments), probs=probs))


def run(module, seed, b=6):
    images = torch.rand(b, 3, *SIZE, generator=torch.Generator().manual_seed(seed)) * 255
    samples = [DataSample().set_gt_label(i % 5) for i in range(b)]
    set_random_seed(seed)
    data = module(dict(inputs=list(images), data_samples=samples), training=True)
    return images, data['inputs'], data['data_samples']


def replayed(images, mixture):
    top, bottom, left, right = mixture.box or (0, SIZE[0], 0, SIZE[1])
    others = images[mixture.other]
    shown = others[..., top:bottom, left:right]
    if mixture.resized:
        shown = F.interpolate(others, (bottom - top, right - left), mode='bilinear', align_corners=False)
    mixed = images.clone()
    own = images[..., top:bottom, left:right]
    mixed[..., top:bottom, left:right] = mixture.share * own + (1 - mixture.share) * shown
    return mixed


@pytest.mark.parametrize('name', AUGMENTS)
def test_the_record_tells_how_images_were_mixed(name):
    plain, recorded = preprocessor(AUGMENTS[name]), preprocessor(AUGMENTS[name])
    record_mixtures(recorded)
    for seed in range(8):
        _, expected, labelled = run(plain, seed)
        images, mixed, samples = run(recorded, seed)
        # Bit for bit mmpretrain's, and so is what is drawn next.
        assert mixed.equal(expected)
        assert all(a.gt_score.equal(b.gt_score) for a, b in zip(samples, labelled))
        drawn = np.random.get_state()[2], torch.get_rng_state()  # noqa: NPY002
        run(plain, seed)
        position, state = np.random.get_state()[2], torch.get_rng_state()  # noqa: NPY002
        assert position == drawn[0] and state.equal(drawn[1])
        mixture = recorded_mixture(samples)
        torch.testing.assert_close(mixed, replayed(images, mixture))
        if name != 'CutMix as drawn':
            labels = mixture.mix_labels(F.one_hot(torch.arange(6) % 5, 5).float())
            torch.testing.assert_close(labels, torch.stack([sample.gt_score for sample in samples]))


def test_one_of_several_is_recorded_or_none():
    module = preprocessor(AUGMENTS['Mixup'], AUGMENTS['CutMix'], probs=[0.3, 0.4])
    record_mixtures(module)
    kinds = set()
    for seed in range(30):
        images, mixed, samples = run(module, seed)
        mixture = recorded_mixture(samples)
        if mixture is None:
            kinds.add(None)
            assert mixed.equal(images)
        else:
            kinds.add('Mixup' if mixture.box is None else 'CutMix')
            torch.testing.assert_close(mixed, replayed(images, mixture))
    assert kinds == {None, 'Mixup', 'CutMix'}


def test_nothing_is_recorded_outside_training():
    module = preprocessor(AUGMENTS['Mixup'])
    record_mixtures(module)
    samples = [DataSample().set_gt_label(0) for _ in range(2)]
    data = module(dict(inputs=list(torch.rand(2, 3, *SIZE)), data_samples=samples), training=False)
    assert recorded_mixture(data['data_samples']) is None


def test_a_copy_records_by_itself():
    module = preprocessor(AUGMENTS['CutMix'])
    record_mixtures(module)
    record_mixtures(module)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        images, mixed, samples = run(other, 3)
        assert isinstance(other.batch_augments, RecordedBatchAugment)
        torch.testing.assert_close(mixed, replayed(images, recorded_mixture(samples)))
        assert module.batch_augments.take() is None


def test_what_mixes_nothing_is_left_alone():
    module = ClsDataPreprocessor()
    record_mixtures(module)
    assert module.batch_augments is None
    assert not module._forward_hooks


def test_another_way_to_mix_is_refused_by_name():
    @BATCH_AUGMENTS.register_module(force=True)
    class MyMix(Mixup):
        pass

    with pytest.raises(ValueError, match='batch_augments has MyMix: .*teacher.cache=None'):
        record_mixtures(preprocessor(dict(type='MyMix', alpha=1.0)))


@pytest.mark.parametrize('name', ['Mixup', 'CutMix', 'ResizeMix'])
def test_images_of_several_sizes_are_not_mixed(name):
    module = preprocessor(AUGMENTS[name])
    record_mixtures(module)
    samples = [DataSample(metainfo=dict(img_shape=size)).set_gt_label(1) for size in ((24, 24), (40, 24))]
    images = [torch.zeros(3, *sample.img_shape) for sample in samples]
    with pytest.raises(ValueError, match='mixes images of 24 x 24 and 40 x 24 pixels'):
        module(dict(inputs=images, data_samples=samples), training=True)
    # Padding that all have alike is none of any image.
    alike = [DataSample(metainfo=dict(img_shape=(24, 24))).set_gt_label(1) for _ in range(2)]
    module(dict(inputs=[torch.zeros(3, 24, 24)] * 2, data_samples=alike), training=True)
