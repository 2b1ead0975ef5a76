"""A training step: the task's own loss stays as it is, and the interaction terms join it."""

from contextlib import nullcontext
from itertools import combinations
from types import SimpleNamespace

import pytest
import torch
from lfi.models import LFIImageClassifier
from mmpretrain.models import ImageClassifier
from small_classifier import CLASSES, HEAD, NAMES, TERMS, VIT, batch


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
    assert losses.keys() == {'loss_cls'} | terms
    for name, value in losses.items():
        assert value.ndim == 0
        assert value > 0, name


@pytest.mark.parametrize('write_back', ['none', 'gated'])
def test_the_task_loss_is_that_of_the_plain_classifier(make_model, write_back):
    model = make_model(backbone=dict(write_back=write_back))
    plain = ImageClassifier(backbone=dict(type='mmpretrain.VisionTransformer', **VIT), head=dict(HEAD))
    missing = plain.load_state_dict(model.state_dict(), strict=False).missing_keys
    assert not missing
    assert torch.equal(model.loss(*batch())['loss_cls'], plain.train().loss(*batch())['loss'])


@pytest.mark.parametrize(
    ('backbone', 'off'),
    [
        *((dict(write_back='none'), set(off)) for n in range(3) for off in combinations(TERMS, n)),
        (dict(write_back='gated'), set()),
        (dict(num_queries=0), set()),
        (dict(persistent=False), set()),
        (dict(with_cp=True), {'concepts', 'presence'}),
    ],
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


@pytest.mark.parametrize(
    ('off', 'num_queries'), [*((set(off), 0) for n in range(4) for off in combinations(TERMS, n)), (set(), 2)]
)
def test_every_trainable_parameter_of_an_adapted_backbone_gets_a_gradient(
    make_model, off, num_queries, unlearnt
):
    plain = dict(type='mmpretrain.ResNet', depth=18, stem_channels=8, base_channels=8)
    adapter = dict(type='lfi.InteractionQueryAdapter', query_dims=16, num_heads=2, num_queries=num_queries)
    model = make_model(
        backbone=dict(adapter, backbone=plain, reads=('layer3', 'layer4')),
        neck=dict(type='mmpretrain.GlobalAveragePooling'),
        head={**HEAD, 'in_channels': 64},
        interaction_loss={f'{term}_weight': 0 for term in off},
    )
    sum(model.loss(*batch()).values()).backward()
    assert not unlearnt(model)
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
