"""`LFIImageClassifier` with `dense_features`: LFI whose patches copy the teacher's features too."""

import numpy as np
import pytest
import torch
from lfi.datasets import LoadInteractionMaps
from lfi.models.losses import DenseFeaturesLoss
from lfi.structures import pack
from lfi.structures.interaction_cache import CacheManifest, CacheWriter, keys_of
from mmpretrain.structures import DataSample

WEIGHT = 3.0
BOTH = {'loss_cosine', 'loss_smooth_l1'}


@pytest.fixture
def make_model(make_small):
    def make(
        type='lfi.LFIImageClassifier', dense=True, teacher='cnn_test_resnet', extractor='dense', **kwargs
    ):
        if dense:
            kwargs['dense_features'] = dict(loss_weight=WEIGHT)
        asked = dict(extractor=dict(type=extractor), input_size=32)
        return make_small(type, folder=teacher, teacher=asked, **kwargs)

    return make


def batch(*sizes):
    inputs = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    sizes = [*sizes, *[(32, 32)] * 3]
    samples = [
        DataSample(metainfo=dict(img_shape=size, img_path=f'/data/{i}.jpg', num_classes=4)).set_gt_label(i)
        for i, size in zip(range(3), sizes)
    ]
    return inputs, samples


@pytest.mark.parametrize('kind', ['lfi.LFIImageClassifier', 'lfi.LFITextClassifier'])
@pytest.mark.parametrize(('teacher', 'extractor'), [('cnn_test_resnet', 'dense'), ('vit', 'maskclip')])
def test_it_learns_the_teachers_features_beside_its_interactions(
    make_model, kind, teacher, extractor, unlearnt
):
    model = make_model(kind, teacher=teacher, extractor=extractor)
    inputs, samples = batch()
    losses = model.loss(inputs, samples)
    plain = make_model(kind, dense=False, teacher=teacher, extractor=extractor)
    assert losses.keys() == plain.loss(inputs, samples).keys() | BOTH
    # As the baseline's loss has it, of the patches that the read-out compares with the concepts.
    with model.backbone.record_interactions() as record:
        model.backbone(inputs)
    torch.manual_seed(0)
    theirs = model.teacher.features(inputs, model.pixels).locations_on((4, 4))
    wanted = DenseFeaturesLoss(16, theirs.shape[1], WEIGHT).train()
    wanted.load_state_dict({**model.dense_features.state_dict(), **dict(wanted.named_buffers())})
    for name, value in wanted.compare(record.states.locations(), theirs).items():
        torch.testing.assert_close(losses[name], value)
    sum(losses.values()).backward()
    assert not unlearnt(model)


def test_its_cache_holds_features_and_gives_the_maps_too(make_model, tmp_path):
    model = make_model()
    inputs, samples = batch()
    maps = model.maps_to_cache(model.teacher_batch(inputs, samples), samples)
    keys, texts = keys_of([sample.img_path for sample in samples], 2), model.teacher.texts.numpy()
    manifest = CacheManifest.of(model.cache_identity(), keys, 2, texts, maps)
    CacheWriter(tmp_path / 'cache', manifest, keys, texts).write(0, pack(maps))
    cached = make_model(teacher_cache=str(tmp_path / 'cache'))
    read = LoadInteractionMaps(str(tmp_path / 'cache'))
    for sample in samples:
        sample.set_field(torch.eye(2, 3), 'view')
        sample.set_field(read(dict(img_path=sample.img_path))['interaction_maps'], 'interaction_maps')
    seen, labels = cached._teacher_maps(inputs, samples)
    asked, _ = model._teacher_maps(inputs, samples)
    scale = model.teacher.logit_scale
    torch.testing.assert_close(seen.logits, asked.logits, atol=0.03 * scale, rtol=0)
    for name, value in cached.loss(inputs, samples).items():
        assert value.isfinite(), name
    assert np.isclose(labels.sum().item(), 3)


def test_its_control_takes_both_of_another_image_and_others_are_refused(make_model, monkeypatch):
    model = make_model('lfi.ShuffledImagesClassifier')
    inputs, samples = batch()
    compared = []
    monkeypatch.setattr(model.dense_features, 'compare', lambda ours, theirs: compared.append(theirs) or {})
    model.loss(inputs, samples)
    own = model.teacher.features(inputs, model.pixels).locations_on((4, 4))
    torch.testing.assert_close(compared[0], own.roll(1, 0))
    for kind in ('lfi.ShuffledPlacesClassifier', 'lfi.MeanTargetClassifier'):
        with pytest.raises(ValueError, match='changes maps alone: remove dense_features'):
            make_model(kind)


def test_padded_images_are_refused(make_model):
    with pytest.raises(ValueError, match='an image of 24 x 32 pixels is padded to 32 x 32'):
        make_model().loss(*batch((24, 32)))
