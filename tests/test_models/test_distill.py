"""`LFIImageClassifier`: the teacher stays outside, the task's own loss stays as it is, padding has no say."""

import copy
from contextlib import nullcontext
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lfi.datasets import LoadInteractionMaps
from lfi.errors import UsageError
from lfi.models import LFIImageClassifier, VLMAttentionTeacher
from lfi.models.batches import pixel_format
from lfi.models.teachers import CachedTeacher, CacheManifest, CacheWriter, TeacherBatch, teacher_identity
from lfi.structures import Pieces, pack
from lfi.structures.interaction_cache import keys_of
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmengine.model import BaseDataPreprocessor
from mmengine.runner import set_random_seed
from mmpretrain.models import ClsDataPreprocessor, ImageClassifier
from mmpretrain.models.utils.batch_augments import Mixup
from mmpretrain.structures import DataSample

NAMES = ['circle', 'square', 'star', 'ring', 'heart', 'leaf']
CLASSES = 4
NORMALISE = dict(mean=[100.0, 120.0, 140.0], std=[50.0, 60.0, 70.0])
ARCH = dict(embed_dims=16, num_layers=4, num_heads=2, feedforward_channels=32)
TERMS = ('positions', 'concepts', 'presence')
VIT = dict(arch=ARCH, img_size=32, patch_size=8)
BACKBONE = dict(**VIT, num_queries=8)
HEAD = dict(type='mmpretrain.LinearClsHead', num_classes=CLASSES, in_channels=16)


@pytest.fixture
def make_model(teacher_folder):
    """A classifier of four classes whose teacher knows six concepts; `backbone`, `teacher` are merged in."""

    def make(backbone=None, teacher=None, readout=None, preprocessor=None, head=HEAD, **kwargs):
        torch.manual_seed(0)
        model = LFIImageClassifier(
            backbone=backbone
            if 'type' in (backbone or {})
            else {'type': 'lfi.InteractionQueryViT', **BACKBONE, **(backbone or {})},
            head=dict(head),
            data_preprocessor={
                'type': 'mmpretrain.ClsDataPreprocessor',
                'to_rgb': True,
                **NORMALISE,
                **(preprocessor or {}),
            },
            teacher={
                'type': 'lfi.VLMAttentionTeacher',
                'model': teacher_folder('vit'),
                'extractor': dict(type='maskclip'),
                'concepts': NAMES,
                **(teacher or {}),
            },
            readout={'text_dims': 24, **(readout or {})},
            **kwargs,
        )
        model.init_weights()
        return model.train()

    return make


@pytest.fixture
def teacher_calls(monkeypatch):
    """Whether gradients were tracked, and the batch size, at each call of any teacher's tower."""
    calls = []
    call = VLMAttentionTeacher.__call__

    def spy(self, inputs, *args, **kwargs):
        extractor = self.extractor

        def watched(images, texts):
            calls.append((torch.is_grad_enabled(), len(images)))
            return extractor(images, texts)

        watched.directions = extractor.directions
        with monkeypatch.context() as patch:
            patch.setattr(self, 'extractor', watched)
            return call(self, inputs, *args, **kwargs)

    monkeypatch.setattr(VLMAttentionTeacher, '__call__', spy)
    return calls


def batch(size=(32, 32), shapes=(None, None, None), labels=(0, 3, 1)):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(len(shapes), 3, *size, generator=generator)
    samples = [
        DataSample(metainfo=dict(img_shape=shape or size, num_classes=CLASSES)).set_gt_label(label)
        for shape, label in zip(shapes, labels)
    ]
    return inputs, samples


# ---- the teacher stays outside ----------------------------------------------------------------------


def test_the_teacher_is_no_part_of_the_model(make_model):
    model = make_model()
    model.loss(*batch())
    own = ('backbone.', 'head.', 'readout.')
    assert all(name.startswith(own) for name in model.state_dict())
    assert all(name.startswith(own) for name, _ in model.named_parameters())
    inside = set(model.teacher.visual.modules())
    assert inside.isdisjoint(model.modules())
    copied = copy.deepcopy(model)
    assert copied.teacher is model.teacher
    assert copied.readout.question_head is not model.readout.question_head


def test_the_teacher_is_built_for_training_only(make_model, tmp_path):
    missing = dict(model=str(tmp_path / 'gone'))
    with pytest.raises(FileNotFoundError, match='teacher folder not found'):
        make_model(teacher=missing)
    model = LFIImageClassifier(
        backbone=dict(type='lfi.InteractionQueryViT', **BACKBONE),
        head=dict(HEAD),
        teacher=dict(type='lfi.VLMAttentionTeacher', extractor=dict(type='dense'), concepts=NAMES, **missing),
        readout=dict(text_dims=24),
    )
    inputs, samples = batch()
    predictions = model.eval().predict(inputs, samples)
    assert [p.pred_score.shape for p in predictions] == [(CLASSES,)] * 3


def test_a_readout_that_does_not_fit_the_teacher_is_refused_before_training(make_model):
    with pytest.raises(
        ValueError, match='readout.text_dims=512, but the teacher embeds its texts in 24 dims'
    ):
        make_model(readout=dict(text_dims=512))


def test_the_readout_is_as_wide_as_the_teachers_text_space_unless_it_is_stated(make_model, tmp_path):
    by_config, stated = make_model(readout=dict(text_dims=None)), make_model()
    assert by_config.readout.text_dims == by_config.teacher.texts.shape[1] == 24
    for name, value in stated.readout.state_dict().items():
        assert torch.equal(value, by_config.readout.state_dict()[name])
    with pytest.raises(FileNotFoundError, match='set readout.text_dims to the width of .*teacher folder not'):
        make_model(teacher=dict(model=str(tmp_path / 'gone')), readout=dict(text_dims=None))


def test_a_step_asks_the_teacher_first_and_then_runs_the_backbone_once(make_model, teacher_calls):
    model = make_model(teacher=dict(max_concepts=2))
    seen = []

    def note(backbone, args):
        (record, *_) = backbone._records
        seen.append((len(teacher_calls), len(args[0]), tuple(record.questions.shape)))

    model.backbone.register_forward_pre_hook(note)
    for step in (1, 2):
        model.loss(*batch())
        # Asked about two concepts and the rest.
        assert seen[-1] == (step, 3, (3, 3, 16))
    assert len(seen) == 2


def test_one_step_asks_the_teacher_once_without_gradients_and_predicting_never_does(
    make_model, teacher_calls
):
    model = make_model()
    inputs, samples = batch()
    for _ in range(2):
        sum(model.loss(inputs, samples).values()).backward()
    assert teacher_calls == [(False, 3)] * 2
    model.eval().predict(inputs, samples)
    assert len(teacher_calls) == 2


# ---- losses -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('arguments', 'terms'),
    [
        (dict(), {'loss_positions', 'loss_concepts', 'loss_presence'}),
        (dict(backbone=dict(num_queries=0)), {'loss_positions', 'loss_concepts', 'loss_presence'}),
        (dict(interaction_loss=dict(presence_weight=0)), {'loss_positions', 'loss_concepts'}),
        (dict(interaction_loss=dict(concepts_weight=0)), {'loss_positions', 'loss_presence'}),
        (dict(interaction_loss=dict(positions_weight=0)), {'loss_concepts', 'loss_presence'}),
        (dict(interaction_loss=dict(positions_weight=0, concepts_weight=0)), {'loss_presence'}),
        (dict(interaction_loss=dict(positions_weight=0, concepts_weight=0, presence_weight=0)), set()),
    ],
    ids=['default', 'asked alone', 'no presence', 'no concepts', 'no positions', 'presence', 'nothing'],
)
def test_the_losses_are_the_tasks_and_the_terms_that_are_switched_on(make_model, arguments, terms):
    losses = make_model(**arguments).loss(*batch())
    assert losses.keys() == {'loss'} | terms
    for name, value in losses.items():
        assert value.ndim == 0
        assert value > 0, name


@pytest.mark.parametrize('write_back', ['none', 'gated'])
def test_the_task_loss_is_that_of_the_plain_classifier(make_model, write_back):
    model = make_model(backbone=dict(write_back=write_back))
    plain = ImageClassifier(backbone=dict(type='mmpretrain.VisionTransformer', **VIT), head=dict(HEAD))
    missing = plain.load_state_dict(model.state_dict(), strict=False).missing_keys
    assert not missing
    assert torch.equal(model.loss(*batch())['loss'], plain.train().loss(*batch())['loss'])


@pytest.mark.parametrize('off', [set(), *map(set, combinations(TERMS, 1)), *map(set, combinations(TERMS, 2))])
@pytest.mark.parametrize(
    'backbone',
    [
        dict(write_back='none'),
        dict(write_back='gated'),
        dict(num_queries=0),
        dict(write_back='none', fuse='sum'),
        dict(persistent=False),
        dict(with_cp=True),
    ],
    ids=lambda backbone: '-'.join(f'{key}={value}' for key, value in backbone.items()),
)
def test_every_trainable_parameter_gets_a_gradient(make_model, backbone, off):
    # DDP runs without a search for unused parameters.
    model = make_model(
        backbone=backbone,
        interaction_loss={f'{term}_weight': 0 for term in off},
        teacher=dict(max_concepts=3),
    )
    sum(model.loss(*batch()).values()).backward()
    trainable = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    without = [name for name, grad in trainable.items() if grad is None]
    assert not without
    assert all(grad.isfinite().all() for grad in trainable.values())
    frozen = {name.split('.')[1] for name, p in model.named_parameters() if not p.requires_grad}
    expected = set()
    if {'concepts', 'presence'} <= off:
        expected |= {'patch_norm', 'patch_head'}
    if 'presence' in off:
        expected |= {'presence_norm', 'presence_head'}
    if {'positions', 'presence'} <= off:
        expected.add('question_head')
    if backbone == dict(write_back='none'):
        # Neither patches nor features read the learned queries.
        expected.add('interaction_queries')
    assert frozen == expected


@pytest.mark.parametrize('num_queries', [0, 2])
@pytest.mark.parametrize('off', [set(), *map(set, combinations(TERMS, 1)), *map(set, combinations(TERMS, 2))])
def test_every_trainable_parameter_of_an_adapted_backbone_gets_a_gradient(make_model, off, num_queries):
    plain = dict(type='mmpretrain.ResNet', depth=18, stem_channels=8, base_channels=8)
    adapter = dict(type='lfi.InteractionQueryAdapter', query_dims=16, num_heads=2, num_queries=num_queries)
    model = make_model(
        backbone=dict(adapter, backbone=plain, reads=('layer3', 'layer4')),
        neck=dict(type='mmpretrain.GlobalAveragePooling'),
        head={**HEAD, 'in_channels': 64},
        interaction_loss={f'{term}_weight': 0 for term in off},
    )
    sum(model.loss(*batch()).values()).backward()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    if not off:
        assert all(p.requires_grad for p in model.parameters())


def test_learned_queries_do_not_change_what_is_asked_where_patches_do_not_read_them(make_model):
    losses = []
    for backbone in (dict(num_queries=0), dict(num_queries=8, write_back='none')):
        model = make_model(backbone=backbone)
        generator = torch.Generator().manual_seed(1)
        for name, parameter in sorted(model.named_parameters()):
            if 'interaction_queries' not in name:
                parameter.data.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
        losses.append(model.loss(*batch()))
    assert losses[0].keys() == losses[1].keys()
    for name, loss in losses[0].items():
        assert torch.equal(loss, losses[1][name]), name


def test_bf16_autocast_gives_close_float32_losses_and_finite_gradients(make_model):
    model = make_model()
    expected = model.loss(*batch())
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.loss(*batch())
    sum(losses.values()).backward()
    for name, value in losses.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(expected[name].item(), rel=0.1)
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


# ---- labels -----------------------------------------------------------------------------------------


def test_labels_single_several_or_mixed_stand_for_the_first_concepts(make_model):
    model = make_model()
    _, samples = batch(labels=(2, [0, 3], 1))
    expected = torch.zeros(3, 6)
    expected[0, 2] = expected[1, [0, 3]] = expected[2, 1] = 1
    assert torch.equal(model.image_labels(samples, 6), expected)
    scores = torch.tensor([[0.3, 0.0, 0.7, 0.0], [0.0, 1.0, 0.0, 0.0], [0.5, 0.0, 0.0, 0.5]])
    for sample, score in zip(samples, scores):
        sample.set_gt_score(score)
    assert torch.equal(model.image_labels(samples, 6), F.pad(scores, (0, 2)))


def test_what_captions_speak_of_joins_the_labels(make_model):
    model = make_model()
    inputs, samples = batch()
    expected = model.image_labels(samples, 6)
    for sample, concepts in zip(samples, ([4, 5], [], [0])):
        sample.set_field(torch.tensor(concepts, dtype=torch.int64), 'gt_concepts')
    expected[0, [4, 5]] = expected[2, 0] = 1
    assert torch.equal(model.concept_labels(samples), expected)
    maps, _ = model.predict_interactions(inputs, samples)
    assert (maps.presence[0, [4, 5]] == 1).all()


def test_images_without_captions_may_stand_beside_those_with(make_model):
    model = make_model()
    _, samples = batch()
    expected = model.image_labels(samples, 6)
    samples[1].set_field(torch.tensor([4, 5]), 'gt_concepts')
    expected[1, [4, 5]] = 1
    assert torch.equal(model.concept_labels(samples), expected)


def test_mixed_images_train_with_their_mixed_labels(make_model, monkeypatch):
    model = make_model(teacher=dict(max_concepts=2))
    mixup = dict(augments=dict(type='Mixup', alpha=1.0))
    model.data_preprocessor = ClsDataPreprocessor(
        **NORMALISE, to_rgb=True, num_classes=CLASSES, batch_augments=mixup
    )
    monkeypatch.setattr(np.random, 'beta', lambda *args: 0.9)
    torch.manual_seed(0)
    inputs, samples = batch()
    pixels = [(100 * image).clamp(0, 255).byte() for image in inputs]
    data = model.data_preprocessor(dict(inputs=pixels, data_samples=samples), training=True)
    labels = model.image_labels(data['data_samples'], 6)
    torch.testing.assert_close(labels.sum(1), torch.ones(3))
    assert ((labels > 0) & (labels < 1)).any()
    maps, _ = model.predict_interactions(**data)
    for b in range(3):
        presence = dict(zip(maps.concepts[b].tolist(), maps.presence[b].tolist()))
        for concept in labels[b].nonzero().flatten().tolist():
            assert presence[concept] >= labels[b, concept] - 1e-6
    losses = model.loss(**data)
    assert all(value.isfinite() and value > 0 for value in losses.values())


def test_the_images_of_a_broken_first_batch_are_named(make_model):
    inputs, samples = batch()
    inputs[1] = float('nan')
    for i, sample in enumerate(samples):
        sample.set_metainfo(dict(img_path=f'{i}.png'))
    message = r"teacher's maps: logits hold .* images \[1\] of the batch.* in this order: 0.png, 1.png, 2.png"
    with pytest.raises(ValueError, match=message):
        make_model().loss(inputs, samples)


def test_more_classes_than_concepts_are_refused(make_model):
    message = 'head.num_classes=4, but the teacher has 3 concepts'
    with pytest.raises(ValueError, match=message):
        make_model(teacher=dict(concepts=NAMES[:3]))
    # The background is no class.
    with pytest.raises(ValueError, match=message):
        make_model(teacher=dict(concepts=NAMES[:3], background=['sky']))


def test_a_teacher_without_a_reading_over_concepts_needs_a_loss_without_one(make_model):
    teacher = dict(extractor=dict(type='legrad'))
    reading = dict(positions_reading='scores', presence='image')
    with pytest.raises(ValueError, match=r'no reading over concepts: set interaction_loss.concepts_weight=0'):
        make_model(teacher=teacher, reading=reading)
    model = make_model(teacher=teacher, reading=reading, interaction_loss=dict(concepts_weight=0))
    assert 'loss_concepts' not in model.loss(*batch())


@pytest.mark.parametrize(
    ('reading', 'own', 'message'),
    [
        (
            dict(presence='image'),
            'softmax over the bank',
            'teacher.concepts has one text .*teacher.background=',
        ),
        (dict(presence='image'), 'sigmoid, concept by concept', None),
        (dict(presence='best-location'), 'sigmoid, concept by concept', 'teacher.concepts has one text'),
    ],
)
def test_one_text_needs_another_where_concepts_are_compared(make_model, reading, own, message):
    model = make_model(reading=dict(positions_reading='scores', **reading))
    texts = model.teacher.texts
    bank, directions = SimpleNamespace(num_concepts=CLASSES), model.teacher.directions
    teacher = SimpleNamespace(texts=texts[:1], bank=bank, directions=directions, own_presence=own)
    with nullcontext() if message is None else pytest.raises(ValueError, match=message):
        model.check_teacher(teacher)
    model.check_teacher(SimpleNamespace(**{**vars(teacher), 'texts': texts[:2]}))


# ---- padding ----------------------------------------------------------------------------------------


def test_only_the_valid_area_is_compared(make_model):
    model = make_model().eval()
    inputs, samples = batch((40, 32), shapes=[(24, 16), (40, 32), (35, 13)])
    maps, student = model.predict_interactions(inputs, samples)
    assert maps.grid == student.grid == (5, 4)
    for valid, (rows, columns) in zip(maps.valid, [(3, 2), (5, 4), (4, 2)]):
        # A patch is valid where half of it shows the image: 35 and 13 pixels are 4.4 and 1.6 patches.
        expected = torch.zeros(5, 4, dtype=torch.bool)
        expected[:rows, :columns] = True
        assert torch.equal(valid, expected)
    assert torch.equal(student.valid, maps.valid)
    assert not student.over_positions().exp()[0][..., ~maps.valid[0]].any()

    # The first image's six patches tile its area: the teacher's 4 x 4 maps, read on 3 x 2.
    alone = model.teacher(
        inputs[:1, :, :24, :16], pixel_format(model.data_preprocessor), model.image_labels(samples[:1], 6)
    )
    expected = alone.resize((3, 2)).logits[:, 0]
    torch.testing.assert_close(maps.logits[:1, 0, :, :3, :2], expected, rtol=1e-4, atol=1e-4)


def test_the_model_goes_by_the_sizes_and_pixels_that_its_images_have(make_model):
    model = make_model().eval()
    inputs, samples = batch((32, 32), shapes=[(8, 8)] * 3)
    raw = dict(inputs=(20 * inputs + 120).byte(), data_samples=samples)
    data = model.data_preprocessor(raw, False)
    maps, _ = model.predict_interactions(data['inputs'], data['data_samples'])
    assert maps.valid.all()
    with pytest.raises(ValueError, match='an online teacher needs'):
        make_model().data_preprocessor({**raw, 'inputs': inputs}, False)


def test_the_teachers_maps_and_labels_do_not_depend_on_padded_pixels(make_model):
    model = make_model().eval()
    inputs, samples = batch((40, 32), shapes=[(24, 16), (40, 32), (40, 24)])
    other = inputs.clone()
    other[0, :, 24:] = 9
    other[0, :, :, 16:] = 9
    other[2, :, :, 24:] = -9
    first, second = (model.predict_interactions(x, samples)[0] for x in (inputs, other))
    assert torch.equal(first.logits, second.logits)
    assert torch.equal(first.presence, second.presence)
    losses = model.train().loss(other, samples)
    assert all(value.isfinite() for value in losses.values())


# ---- pixels -----------------------------------------------------------------------------------------


def test_patches_that_reach_beyond_the_image_show_padding(make_model):
    model = make_model().eval()
    inputs, samples = batch((28, 20))
    maps = model.predict_interactions(inputs, samples)[0]
    padded = F.pad(inputs, (0, 4, 0, 4))
    for sample in samples:
        sample.set_metainfo(dict(img_shape=(28, 20)))
    expected = model.predict_interactions(padded, samples)[0]
    assert maps.grid == (4, 3)
    torch.testing.assert_close(maps.logits, expected.logits)
    assert torch.equal(maps.valid, expected.valid)


def test_a_preprocessor_that_does_not_say_its_pixels_is_named():
    with pytest.raises(UsageError, match="data_preprocessor.type='BaseDataPreprocessor' does not say"):
        pixel_format(BaseDataPreprocessor())


@pytest.mark.parametrize(
    'make',
    [
        lambda: ClsDataPreprocessor(**NORMALISE, to_rgb=True),
        lambda: ClsDataPreprocessor(**NORMALISE),
        lambda: ClsDataPreprocessor(to_rgb=True),
        lambda: ClsDataPreprocessor(),
        lambda: DetDataPreprocessor(**NORMALISE, bgr_to_rgb=True, pad_size_divisor=1),
        lambda: DetDataPreprocessor(**NORMALISE, bgr_to_rgb=False),
        lambda: DetDataPreprocessor(bgr_to_rgb=True),
        lambda: DetDataPreprocessor(mean=[120.0], std=[60.0], bgr_to_rgb=True),
        lambda: pytest.importorskip('mmseg.models').SegDataPreProcessor(**NORMALISE, bgr_to_rgb=True),
    ],
    ids=[
        'cls rgb',
        'cls bgr',
        'cls rgb raw',
        'cls bgr raw',
        'det rgb',
        'det bgr',
        'det rgb raw',
        'one value',
        'seg rgb',
    ],
)
def test_pixel_format_undoes_what_a_preprocessor_does_to_a_bgr_image(make):
    rgb = torch.randint(0, 256, (3, 4, 5), generator=torch.Generator().manual_seed(0))
    preprocessor = make()
    data = preprocessor(dict(inputs=[rgb.flip(0).byte()], data_samples=None))
    pixels = pixel_format(preprocessor)
    values = data['inputs'][0] * torch.tensor(pixels.std).view(3, 1, 1) + torch.tensor(pixels.mean).view(
        3, 1, 1
    )
    torch.testing.assert_close(values if pixels.rgb else values.flip(0), rgb.float(), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(text_class_loss=None), 'text_class_loss is of lfi 0.1, .*set interaction_loss.presence_weight'),
        (dict(readout=dict(assign='index')), 'readout.assign is of lfi 0.1, .* a query of its own'),
        (
            dict(interaction_loss=dict(relation_weight=1)),
            r'interaction_loss.relation_weight .* affinity_prior',
        ),
    ],
)
def test_options_of_recalled_queries_are_refused_with_what_took_their_place(make_model, arguments, message):
    with pytest.raises(ValueError, match=message):
        make_model(**arguments)


def test_a_training_step_compiles(make_model):
    model = make_model(affinity_prior={})
    inputs, samples = batch()
    # What is built at the first step is left to Python.
    model(inputs, samples, mode='loss')
    found = []
    for run in (model, torch.compile(model, backend='eager')):
        losses = run(inputs, samples, mode='loss')
        model.zero_grad()
        model.parse_losses(losses)[0].backward()
        grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        found.append((losses, grads))
    torch.testing.assert_close(found[0], found[1])
    assert len(found[0][1]) > 20


# ---- asking the student ---------------------------------------------------------------------------------


def test_ask_gives_maps_and_presence_of_any_texts(make_model):
    model = make_model().eval()
    inputs, _ = batch((40, 32))
    texts = F.normalize(torch.randn(5, 24, generator=torch.Generator().manual_seed(2)), dim=-1)
    got = model.ask(inputs, texts)
    assert got.logits.shape == (3, 2, 5, 5, 4) and got.directions == ('positions',)
    assert (got.concepts, got.layers) == (None, (2, 3))
    assert got.valid.all() and not got.logits.requires_grad and got.check() is got
    assert got.presence.gt(0).all() and got.presence.lt(1).all()
    # Each by itself, and in another order.
    order = [3, 0, 4]
    some = model.ask(inputs, texts[order])
    torch.testing.assert_close(some.logits, got.logits[:, :, order], rtol=0, atol=1e-5)
    torch.testing.assert_close(some.presence, got.presence[:, order], rtol=0, atol=1e-5)
    with model.backbone.record_interactions(model.readout.questions(texts)) as record:
        model.backbone(inputs)
    torch.testing.assert_close(got.presence, model.readout.scores(record.states, texts).sigmoid())


@pytest.mark.parametrize('backbone', [dict(), dict(num_queries=0), dict(with_cls_token=False)])
def test_ask_leaves_padding_out(make_model, backbone):
    kwargs = dict(out_type='avg_featmap') if 'with_cls_token' in backbone else {}
    model = make_model(backbone={**backbone, **kwargs}).eval()
    inputs, _ = batch((40, 32))
    sizes = [(24, 16), (40, 32), (35, 13)]
    texts = model.teacher.texts
    got = model.ask(inputs, texts, sizes)
    for b, (rows, columns) in enumerate([(3, 2), (5, 4), (4, 2)]):
        expected = torch.zeros(5, 4, dtype=torch.bool)
        expected[:rows, :columns] = True
        assert torch.equal(got.valid[b], expected)
    # As in training.
    samples = [
        DataSample(metainfo=dict(img_shape=size, num_classes=CLASSES)).set_gt_label(0) for size in sizes
    ]
    student = model.predict_interactions(inputs, samples)[1]
    assert torch.equal(student.valid, got.valid)
    torch.testing.assert_close(student.over_positions(), got.over_positions())
    torch.testing.assert_close(student.presence, got.presence)


@pytest.mark.parametrize('shape', [(24,), (5, 512), (3, 5, 24)])
def test_texts_of_another_shape_are_refused(make_model, shape):
    with pytest.raises(ValueError, match=r'texts must be \(M, E\) with E = readout.text_dims = 24, got'):
        make_model().ask(batch()[0], torch.zeros(shape))


# ---- asking the teacher ---------------------------------------------------------------------------------


@pytest.mark.parametrize('max_concepts', [None, 2])
def test_the_teacher_answers_about_all_concepts_as_it_is_read_and_without_labels(make_model, max_concepts):
    reading = dict(positions_reading='share', presence='best-location')
    model = make_model(teacher=dict(max_concepts=max_concepts), reading=reading).eval()
    inputs, samples = batch((40, 32), shapes=[(24, 16), (40, 32), (35, 13)])
    sizes = [(24, 16), (40, 32), (35, 13)]
    got = model.teacher_answers(inputs, sizes).check()
    assert got.concepts is None and got.grid == (5, 4) and got.presence.shape == (3, 6)
    # The label alone is what a step adds.
    in_step = make_model(reading=reading).eval().predict_interactions(inputs, samples)[0]
    torch.testing.assert_close(got.over_positions(), in_step.over_positions())
    assert torch.equal(got.valid, in_step.valid)
    rows, labels = torch.arange(3), torch.tensor([0, 3, 1])
    assert (in_step.presence[rows, labels] == 1).all() and (got.presence[rows, labels] < 1).all()
    unlabelled = torch.ones(3, 6, dtype=torch.bool)
    unlabelled[rows, labels] = False
    torch.testing.assert_close(got.presence[unlabelled], in_step.presence[unlabelled])


def test_the_teacher_answers_about_complete_images_by_default(make_model):
    model = make_model().eval()
    inputs, _ = batch((28, 20))
    got, expected = model.teacher_answers(inputs), model.teacher_answers(inputs, [(28, 20)] * 3)
    assert torch.equal(got.logits, expected.logits) and torch.equal(got.valid, expected.valid)


# ---- configuration ----------------------------------------------------------------------------------


def test_a_backbone_that_records_nothing_is_refused():
    with pytest.raises(
        TypeError, match='LFIImageClassifier needs an lfi.InteractionQueryViT .*got VisionTran'
    ):
        LFIImageClassifier(
            backbone=dict(type='mmpretrain.VisionTransformer', **VIT),
            head=dict(HEAD),
            teacher=dict(type='lfi.VLMAttentionTeacher'),
            readout=dict(text_dims=24),
        )


# ---- maps from a cache -----------------------------------------------------------------------------------


@pytest.fixture
def cached_model(make_model, tmp_path):
    """A model whose teacher's maps of two images are in a cache, the images, and their samples."""
    model = make_model()
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(2, 3, 32, 32, generator=generator)
    samples = [
        DataSample(metainfo=dict(img_path=f'/data/{i}.jpg', img_shape=(32, 32))).set_gt_label(i)
        for i in range(2)
    ]
    maps = model.teacher(
        images, pixel_format(model.data_preprocessor), model.image_labels(samples, len(NAMES))
    )
    keys, texts = keys_of([sample.img_path for sample in samples], 2), model.teacher.texts.numpy()
    manifest = CacheManifest.of(teacher_identity(model.teacher_cfg), keys, 2, texts, maps)
    CacheWriter(tmp_path, manifest, keys, texts).write(0, pack(maps))
    read = LoadInteractionMaps(str(tmp_path))
    for sample in samples:
        sample.set_field(read(dict(img_path=sample.img_path))['interaction_maps'], 'interaction_maps')

    def cached(**kwargs):
        return make_model(teacher_cache=str(tmp_path), **kwargs)

    return cached(), images, samples, cached


def test_maps_from_a_cache_are_warped_into_each_view(cached_model, make_model):
    model, images, samples, _ = cached_model
    for sample, flip in zip(samples, (1.0, -1.0)):
        sample.set_field(torch.tensor([[flip, 0, 0], [0, 1, 0]]), 'view', dtype=torch.Tensor)
    cached, _ = model.predict_interactions(images, samples)
    online, _ = make_model().predict_interactions(images, samples)
    extent = (online.logits.amax() - online.logits.amin()).item()
    torch.testing.assert_close(cached.logits[0], online.logits[0], atol=extent / 255, rtol=0)
    torch.testing.assert_close(cached.logits[1], online.logits[1].flip(-1), atol=extent / 255, rtol=0)
    assert cached.valid.all()


def test_a_class_that_a_crop_has_left_out_keeps_the_presence_that_the_teacher_gives_it(make_model):
    model = make_model(teacher=dict(max_concepts=2))
    images, samples = batch(shapes=(None, None), labels=(2, 0))
    kept = model.maps_to_cache(TeacherBatch(images, model.pixels, [(32, 32)] * 2), samples)
    probabilities = make_model().teacher(images, pixel_format(model.data_preprocessor)).presence
    assert kept.concepts[:, 0].tolist() == [2, 0]
    torch.testing.assert_close(kept.presence[:, 0], probabilities[[0, 1], [2, 0]])
    # The first view shows its class still, the second does not.
    seen = kept.with_labels(torch.eye(6)[[2, 5]])
    assert seen.presence[0, 0] == 1
    assert seen.presence[1].equal(kept.presence[1])


@pytest.mark.parametrize('view', [[[0.5, 0, -0.5], [0, 1.0, 0]], [[1.0, 0, 0], [0, 0.5, -0.5]]])
def test_padding_and_view_of_a_cached_image_add_up(cached_model, view):
    model, images, samples, _ = cached_model
    # The view is the image's left or upper half, stretched, and 16 of its 32 rows are padding.
    for sample in samples:
        sample.set_field(torch.tensor(view), 'view', dtype=torch.Tensor)
        sample.set_metainfo(dict(img_shape=(16, 32)))
    unaugmented = model.teacher.maps_of([sample.interaction_maps for sample in samples], images.device)
    maps, _ = model.predict_interactions(images, samples)
    assert maps.valid.equal(torch.tensor([True, True, False, False])[None, :, None].expand(2, 4, 4))
    expected = unaugmented.warp(torch.tensor([view]).expand(2, 2, 3), (2, 4))
    torch.testing.assert_close(maps.logits[..., :2, :], expected.logits)


def test_maps_that_were_not_read_are_asked_for(cached_model):
    model, images, samples, _ = cached_model
    for sample in samples:
        sample.set_field(torch.eye(2, 3), 'view', dtype=torch.Tensor)
        del sample.interaction_maps
    with pytest.raises(
        ValueError, match="needs each image's maps: .*lfi.LoadInteractionMaps.*algorithm_keys="
    ):
        model.loss(images, samples)


def test_a_view_that_was_not_recorded_is_asked_for(cached_model):
    model, images, samples, _ = cached_model
    with pytest.raises(ValueError, match="needs each image's view: .*lfi.RecordView.*algorithm_keys="):
        model.loss(images, samples)


MIXING = {
    'Mixup': dict(type='Mixup', alpha=0.8),
    'CutMix': dict(type='CutMix', alpha=1.0),
    'ResizeMix': dict(type='ResizeMix', alpha=1.0),
}


def mixing(*names):
    augments = dict(augments=[MIXING[name] for name in names])
    return dict(num_classes=CLASSES, batch_augments=augments)


def mixed_batch(model, images, samples, seed=0):
    """Images that are shown completely, mixed."""
    for sample in samples:
        sample.set_field(torch.eye(2, 3), 'view', dtype=torch.Tensor)
    set_random_seed(seed)
    return model.data_preprocessor(dict(inputs=list(images), data_samples=samples), training=True)


@pytest.mark.parametrize('name', MIXING)
@pytest.mark.parametrize('presence', ['image', 'best-location'])
def test_mixed_images_learn_from_their_mixed_maps(cached_model, name, presence):
    _, images, samples, cached = cached_model
    model = cached(preprocessor=mixing(name), reading=dict(positions_reading='share', presence=presence))
    unmixed = model.teacher.maps_of([sample.interaction_maps for sample in samples], images.device)
    # A seed that exchanges the two.
    data = mixed_batch(model, images, samples, seed=1)
    mixture = data['data_samples'][0].metainfo['mixture']
    assert mixture.other.tolist() == [1, 0]
    maps, labels = model._teacher_maps(**data)
    for b, own in enumerate(mixture.mix_labels(torch.eye(2))):
        torch.testing.assert_close(maps.presence[b], own @ unmixed.presence)
        torch.testing.assert_close(labels[b, :2], own)
    both, share = mixture.sources(unmixed, [Pieces.whole(torch.eye(2, 3))] * 2, maps.grid)
    p = torch.stack([maps.over_concepts().exp() for maps in both], 1)
    expected = (p * share[:, :, None, None]).sum(1)
    torch.testing.assert_close(maps.over_concepts().exp(), expected)
    losses = model(**data, mode='loss')
    sum(losses.values()).backward()
    assert torch.stack(list(losses.values())).isfinite().all()


@pytest.mark.parametrize('name', MIXING)
def test_pictures_of_several_images_are_mixed_in_pairs(cached_model, name):
    _, images, samples, cached = cached_model
    model = cached(preprocessor=mixing(name))
    unmixed = model.teacher.maps_of([sample.interaction_maps for sample in samples], images.device)
    # The first shows both images, one above the other; the second is an image.
    windows = torch.tensor([[[0, 1], [0, 0.5]], [[0, 1], [0.5, 1]]])
    halves = Pieces(windows, torch.eye(2, 3).repeat(2, 1, 1), (1.0, 1.0))
    stored = model.teacher.cache.stored_pieces([sample.img_path for sample in samples], halves)
    samples[0].set_field(stored, 'interaction_maps')
    data = mixed_batch(model, images, samples, seed=1)
    maps, _ = model._teacher_maps(**data)
    maps.check()

    mixture = data['data_samples'][0].metainfo['mixture']
    top, bottom, left, right = mixture.box or (0, 32, 0, 32)
    shown = torch.zeros(2, 2, 32, 32)  # Which picture shows which image, pixel by pixel.
    shown[0, 0, :16] = shown[0, 1, 16:] = shown[1, 1] = 1
    theirs = shown[mixture.other]
    if mixture.resized:
        theirs[..., top:bottom, left:right] = F.interpolate(theirs, (bottom - top, right - left), mode='area')
    mixed = shown.clone()
    box = (..., slice(top, bottom), slice(left, right))
    mixed[box] = mixture.share * shown[box] + (1 - mixture.share) * theirs[box]
    torch.testing.assert_close(maps.presence, mixed.mean((-2, -1)) @ unmixed.presence)
    losses = model(**data, mode='loss')
    assert torch.stack(list(losses.values())).isfinite().all()


@pytest.mark.parametrize('name', MIXING)
def test_an_image_that_is_mixed_with_itself_is_itself(cached_model, name):
    _, images, samples, cached = cached_model
    model = cached(preprocessor=mixing(name))
    alone, _ = model._teacher_maps(images[:1], mixed_batch(cached(), images[:1], samples[:1])['data_samples'])
    data = mixed_batch(model, images[:1], samples[:1])
    maps, _ = model._teacher_maps(**data)
    torch.testing.assert_close(maps.presence, alone.presence)
    if name != 'ResizeMix':
        torch.testing.assert_close(maps.logits, alone.logits, rtol=0, atol=1e-4)


def test_a_batch_that_drew_no_mixture_is_as_it_was(cached_model):
    _, images, samples, cached = cached_model
    augments = dict(augments=[MIXING['Mixup']], probs=[0.0])
    model = cached(preprocessor=dict(num_classes=CLASSES, batch_augments=augments))
    data = mixed_batch(model, images, samples)
    maps, _ = model._teacher_maps(**data)
    expected, _ = cached()._teacher_maps(images, samples)
    for field in ('logits', 'presence', 'valid'):
        assert getattr(maps, field).equal(getattr(expected, field))


def test_captions_are_mixed_as_labels_are(cached_model):
    _, images, samples, cached = cached_model
    model = cached(preprocessor=mixing('Mixup'))
    for sample, concept in zip(samples, (4, 5)):
        sample.set_field(torch.tensor([concept]), 'gt_concepts')
    data = mixed_batch(model, images, samples, seed=1)
    share = data['data_samples'][0].metainfo['mixture'].share
    labels = model.concept_labels(data['data_samples'])
    torch.testing.assert_close(labels[:, 4:], torch.tensor([[share, 1 - share], [1 - share, share]]))


def mixed_captions(model):
    """Samples of a batch that the model has mixed, whose captions speak of the concepts 4, 5 and 4."""
    inputs, samples = batch()
    for sample, concept in zip(samples, (4, 5, 4)):
        sample.set_field(torch.tensor([concept]), 'gt_concepts')
    pixels = [(100 * image).clamp(0, 255).byte() for image in inputs]
    set_random_seed(0)
    return model.data_preprocessor(dict(inputs=pixels, data_samples=samples), training=True)['data_samples']


@pytest.mark.parametrize('name', MIXING)
def test_captions_are_mixed_without_a_cache_too(make_model, name):
    model = make_model(preprocessor=mixing(name))
    samples = mixed_captions(model)
    spoken = F.one_hot(torch.tensor([4, 5, 4]), 6).float()
    expected = samples[0].metainfo['mixture'].mix_labels(spoken)
    torch.testing.assert_close(model.concept_labels(samples)[:, 4:], expected[:, 4:])


def test_captions_that_are_mixed_in_unknown_ways_are_refused(make_model):
    class Unknown(Mixup):
        pass

    augments = dict(augments=[Unknown(1.0)])
    model = make_model(preprocessor=dict(num_classes=CLASSES, batch_augments=augments))
    with pytest.raises(ValueError, match='batch_augments has Unknown: .* gt_concepts are those of'):
        model.concept_labels(mixed_captions(model))


def test_a_data_set_without_views_may_stand_beside_one_with(make_model):
    model, (inputs, samples) = make_model(), batch()
    samples[1].set_field(torch.eye(2, 3), 'view', dtype=torch.Tensor)
    for order in ([0, 1, 2], [1, 0, 2]):
        losses = model.loss(inputs[order], [samples[i] for i in order])
        assert all(value.isfinite() for value in losses.values())


def test_maps_that_one_image_lacks_are_asked_for(cached_model):
    model, images, samples, _ = cached_model
    for sample in samples:
        sample.set_field(torch.eye(2, 3), 'view', dtype=torch.Tensor)
    del samples[1].interaction_maps
    with pytest.raises(ValueError, match="needs each image's maps: .*that of each data set"):
        model.loss(images, samples)


def test_maps_that_cannot_be_mixed_are_refused_before_training(cached_model, monkeypatch):
    _, _, _, cached = cached_model
    monkeypatch.setattr(CachedTeacher, 'directions', ('positions',))
    with pytest.raises(ValueError, match='batch_augments .*teacher_cache=None'):
        cached(preprocessor=mixing('Mixup'), interaction_loss=dict(concepts_weight=0))


@pytest.mark.parametrize(('positions_reading', 'rivalry'), (('scores', 0), ('share', 0.9)))
def test_a_student_answers_as_its_teacher_is_read(make_model, positions_reading, rivalry):
    model = make_model(reading=dict(positions_reading=positions_reading, presence='image')).eval()
    model.init_weights()
    texts = model.teacher.texts
    assert model.readout.rivalry == rivalry
    if rivalry:
        assert model.readout.rivals[: len(texts)].equal(texts)
    inputs = batch()[0]
    together = model.ask(inputs, texts)
    alone = model.ask(inputs, texts[1:2])
    torch.testing.assert_close(together.logits[:, :, 1:2], alone.logits, rtol=0, atol=1e-4)


def test_training_from_a_checkpoint_takes_the_rivals_of_its_own_bank(make_model):
    reading = dict(positions_reading='share')
    before = make_model(reading=reading)
    model = make_model(reading=reading, teacher=dict(concepts=[*NAMES[:CLASSES], 'gear', 'moon']))
    model.load_state_dict(before.state_dict())
    model.loss(*batch())
    assert torch.equal(model.readout.rivals[: len(NAMES)], model.teacher.texts)
    assert not torch.equal(model.readout.rivals, before.readout.rivals)
    # What was learnt refers to the mean.
    assert torch.equal(model.readout.text_centre, before.readout.text_centre)


def test_scores_that_do_not_learn_weigh_no_answer(make_model):
    reading, unlearnt = dict(positions_reading='share'), dict(concepts_weight=0, presence_weight=0)
    assert make_model(reading=reading, interaction_loss=unlearnt).readout.rivalry == 0
    for learnt in (dict(concepts_weight=0), dict(presence_weight=0)):
        assert make_model(reading=reading, interaction_loss=learnt).readout.rivalry == 0.9
    with pytest.raises(ValueError, match=r'readout\.rivalry=0\.5 weighs .* presence_weight are 0: remove it'):
        make_model(reading=reading, interaction_loss=unlearnt, readout=dict(rivalry=0.5))
