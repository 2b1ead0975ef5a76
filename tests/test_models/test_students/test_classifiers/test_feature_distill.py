"""The controls are LFI's student and teacher, with what LFI claims to help taken away."""

import pytest
import torch
from lfi.models import ShuffledFeaturesClassifier, ShuffledPlacesClassifier
from lfi.models.batches.samples import pixel_format
from lfi.models.students.another_image import maps_of_another_image
from lfi.registry import MODELS
from mmpretrain.structures import DataSample

LOSSES = {
    'loss_feature': dict(type='lfi.FeatureMSELoss', student_dims=16, teacher_dims=24),
    'loss_logits': dict(type='lfi.LogitKDLoss'),
    'loss_attention': dict(type='lfi.AttentionTransferLoss'),
}


@pytest.fixture
def make_model(make_small):
    def make(
        distill_loss=None,
        extractor='maskclip',
        teacher='vit',
        type='lfi.FeatureDistillClassifier',
        concepts=None,
        **kwargs,
    ):
        if distill_loss is not None:
            kwargs['distill_loss'] = distill_loss
        asked = {} if concepts is None else dict(concepts=concepts)
        return make_small(
            type, folder=teacher, teacher=dict(extractor=dict(type=extractor), **asked), **kwargs
        )

    return make


def batch():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=generator)
    samples = [DataSample(metainfo=dict(img_shape=(32, 32))).set_gt_label(label) for label in (0, 3, 1)]
    return dict(inputs=list(inputs), data_samples=samples)


@pytest.mark.parametrize('name', LOSSES)
def test_a_control_adds_its_term_to_the_tasks_own(make_model, name):
    model = make_model(LOSSES[name])
    data = model.data_preprocessor(batch(), training=True)
    losses = model(**data, mode='loss')
    features = model.extract_feat(data['inputs'])
    task = model.head.loss(features, data['data_samples'])
    assert losses.keys() == {'loss_cls', name}
    assert torch.equal(losses['loss_cls'], task['loss'])
    losses[name].backward()
    assert model.backbone.layers[0].attn.qkv.weight.grad.abs().sum() > 0


def test_what_cannot_be_copied_says_why(make_model):
    with pytest.raises(ValueError, match='head.num_classes=4, but the teacher has 3 concepts'):
        make_model(LOSSES['loss_logits'], concepts=['circle', 'square', 'star'])
    with pytest.raises(TypeError, match='needs an lfi.InteractionQueryViT .* got VisionTransformer'):
        make_model(LOSSES['loss_logits'], backbone='mmpretrain.VisionTransformer')


def test_no_features_of_padding_are_copied(make_model):
    model = make_model(LOSSES['loss_attention'])
    data = batch()
    data['inputs'][1] = data['inputs'][1][:, :24]
    data['data_samples'][1].set_metainfo(dict(img_shape=(24, 32)))
    with pytest.raises(ValueError, match='an image of 24 x 32 pixels is padded to 32 x 32'):
        model(**model.data_preprocessor(data, training=True), mode='loss')


def test_images_that_end_within_a_patch_are_refused(make_model):
    model = make_model(LOSSES['loss_attention'])
    data = batch()
    data['inputs'] = [image[:, :, :28] for image in data['inputs']]
    for sample in data['data_samples']:
        sample.set_metainfo(dict(img_shape=(32, 28)))
    with pytest.raises(ValueError, match='images of 32 x 28 pixels end within a location of 8 x 8 pixels'):
        model(**model.data_preprocessor(data, training=True), mode='loss')
    # Class probabilities have no place.
    model = make_model(LOSSES['loss_logits'])
    assert model(**model.data_preprocessor(data, training=True), mode='loss')['loss_logits'] > 0


def test_the_teachers_features_are_those_behind_its_maps(make_model):
    model = make_model(LOSSES['loss_logits'])
    teacher = model.teacher
    inputs = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    pixels = pixel_format(model.data_preprocessor)
    features, maps = teacher.features(inputs, pixels), teacher(inputs, pixels)
    assert torch.allclose(features.scores.softmax(-1), maps.presence, atol=1e-6)
    cosines = torch.einsum('ce,behw->bchw', teacher.texts, features.locations)
    assert torch.allclose(teacher.map_scale * cosines, maps.logits[:, 0], atol=1e-4)


def test_a_teacher_without_features_of_places_is_refused(make_model):
    model = make_model(LOSSES['loss_logits'], extractor='coca', teacher='coca')
    with pytest.raises(ValueError, match='has no features of locations to copy'):
        model(**model.data_preprocessor(batch(), training=True), mode='loss')


def test_a_loss_that_does_not_say_what_it_compares_is_refused(make_model):
    @MODELS.register_module(force=True)
    class SilentLoss(torch.nn.Module):
        pass

    with pytest.raises(TypeError, match='SilentLoss does not say what it compares: .* by_location = True'):
        make_model(dict(type='lfi.SilentLoss'))
    MODELS.module_dict.pop('SilentLoss')


def test_shuffled_features_are_another_images(make_model):
    loss = LOSSES['loss_attention']
    model = make_model(loss)
    data = model.data_preprocessor(batch(), training=True)
    theirs = model.teacher.features(data['inputs'], pixel_format(model.data_preprocessor))
    changed = ShuffledFeaturesClassifier.change(theirs)
    for name in ('pooled', 'scores', 'locations'):
        before, after = getattr(theirs, name), getattr(changed, name)
        assert all(torch.equal(after[b], before[b - 1]) for b in range(3))
    shuffled = make_model(loss, type='lfi.ShuffledFeaturesClassifier')
    losses = [m(**data, mode='loss') for m in (model, shuffled)]
    assert torch.equal(losses[0]['loss_cls'], losses[1]['loss_cls'])
    assert losses[0]['loss_attention'] != losses[1]['loss_attention']


def test_shuffled_images_take_anothers_maps_whole(make_maps):
    maps = make_maps(shape=(3, 2, 4, 4, 4), concepts=torch.arange(12).view(3, 4))
    changed = maps_of_another_image(maps)
    for name in ('logits', 'presence', 'valid', 'concepts'):
        before, after = getattr(maps, name), getattr(changed, name)
        assert all(torch.equal(after[b], before[b - 1]) for b in range(3))


def test_shuffled_places_keep_what_each_place_says(make_maps):
    maps = make_maps(shape=(3, 2, 4, 4, 4))
    changed = ShuffledPlacesClassifier.change(maps)
    assert not torch.equal(changed.logits, maps.logits)
    for b in range(3):
        before, after = (x.logits[b].flatten(-2).flatten(0, 1).T.tolist() for x in (maps, changed))
        assert sorted(before) == sorted(after)
    assert torch.equal(changed.presence, maps.presence)
    orders = [[row.index(place) for place in after] for row, after in zip(_places(maps), _places(changed))]
    assert orders[0] != orders[1]


@pytest.mark.parametrize('change', [maps_of_another_image, ShuffledPlacesClassifier.change])
def test_no_control_asks_for_a_place_in_an_images_own_padding(make_maps, change):
    """The student reads none there, and would be wrong by the logarithm of 0."""
    valid = torch.zeros(3, 4, 4, dtype=torch.bool)
    valid[0, :2], valid[1, :, :3], valid[2] = True, True, True
    maps = make_maps(shape=(3, 2, 4, 4, 4), valid=valid)
    changed = change(maps)
    assert not (changed.valid & ~valid).any() and changed.valid.flatten(1).any(1).all()
    # What is valid comes from a place that is so, too.
    shown = set(maps.logits[:, 0, 0][valid].tolist())
    assert set(changed.logits[:, 0, 0][changed.valid].tolist()) <= shown


def test_shuffled_places_are_drawn_as_ever_where_nothing_is_padded(make_maps):
    maps = make_maps(shape=(3, 2, 4, 4, 4))
    torch.manual_seed(0)
    changed = ShuffledPlacesClassifier.change(maps)
    torch.manual_seed(0)
    for b, order in enumerate(torch.rand(3, 16).argsort(1)):
        assert changed.logits[b].flatten(-2).equal(maps.logits[b].flatten(-2)[..., order])


@pytest.mark.parametrize('kind', ['lfi.ShuffledImagesClassifier', 'lfi.ShuffledPlacesClassifier'])
def test_they_are_measured_by_the_teachers_own_maps(make_model, kind):
    types = ('lfi.LFIImageClassifier', kind)
    plain, shuffled = (make_model(type=type, readout=dict(text_dims=24)) for type in types)
    data = plain.data_preprocessor(batch(), training=False)
    for training in (False, True):
        models = (m.train(training) for m in (plain, shuffled))
        teacher, changed = (m.predict_interactions(**data)[0] for m in models)
        assert torch.equal(teacher.logits, changed.logits)
    # And learn from others.
    own, others = (m(**data, mode='loss')['loss_positions'] for m in (plain, shuffled))
    assert own != others


@pytest.mark.parametrize(
    ('kind', 'options'),
    [
        ('lfi.ShuffledFeaturesClassifier', dict(distill_loss=LOSSES['loss_attention'])),
        ('lfi.ShuffledImagesClassifier', dict(readout=dict(text_dims=24))),
    ],
)
def test_a_batch_of_one_image_has_no_other_to_take_from(make_model, kind, options):
    model = make_model(type=kind, **options)
    data = batch()
    one = model.data_preprocessor({name: value[:1] for name, value in data.items()}, training=True)
    with pytest.raises(
        ValueError, match='a batch of one image has no other .*train_dataloader.drop_last=True'
    ):
        model(**one, mode='loss')
    # It is measured by the teacher's own maps, image by image.
    if kind == 'lfi.ShuffledImagesClassifier':
        model.predict_interactions(**one)


def _places(maps):
    return [image.flatten(-2).flatten(0, 1).T.tolist() for image in maps.logits]
