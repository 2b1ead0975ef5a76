"""A training step: the task's own loss stays as it is, and the terms of the parts join it."""

import copy

import pytest
import torch
from lfi.models import AffinityPrior, SupervisionPart
from lfi.registry import MODELS
from mmpretrain.models import ImageClassifier
from small_students import (
    ADAPTER,
    CLASSES,
    HEAD,
    NAMES,
    OF_MAPS,
    PARTS,
    TERMS,
    VIT,
    batch,
    interactions,
    losses_of,
    parts,
    raw_batch,
)


def off(*names):
    return interactions(**{f'{name}_weight': 0 for name in names})


def test_a_step_asks_the_teacher_first_and_then_runs_the_backbone_once(make_classifier, teacher_calls):
    model = make_classifier(teacher=dict(max_concepts=2))
    seen = []

    def note(backbone, args):
        (record, *_) = backbone._records
        seen.append((len(teacher_calls), len(args[0]), tuple(record.asked_queries.shape)))

    model.backbone.register_forward_pre_hook(note)
    for step in (1, 2):
        model.loss(*batch())
        # Asked about two concepts and the rest.
        assert seen[-1] == (step, 3, (3, 3, 16))
    assert len(seen) == 2


@pytest.mark.parametrize('hidden', [(), (1, 2), (0, 1, 2, 3)])
@pytest.mark.parametrize('part', PARTS)
def test_the_backbone_runs_once_whoever_records(make_classifier, part, hidden):
    model = make_classifier(supervision=parts(part, 'prior'))
    runs = []
    model.backbone.register_forward_hook(lambda *_: runs.append(1))
    with model.backbone.record_interactions() as record:
        losses = losses_of(model, raw_batch(hidden=hidden))
    assert runs == [1]
    prior = model.supervision.prior.compare(record.states.locations())
    torch.testing.assert_close(losses['loss_prior'], prior['loss_prior'])


@pytest.mark.parametrize(
    ('arguments', 'terms'),
    [
        (dict(), TERMS['interactions']),
        (dict(backbone=dict(num_queries=0)), TERMS['interactions']),
        (dict(supervision=off('presence')), {'loss_spatial', 'loss_semantic'}),
        (dict(supervision=off('semantic')), {'loss_spatial', 'loss_presence'}),
        (dict(supervision=off('spatial')), {'loss_semantic', 'loss_presence'}),
        (dict(supervision=off('spatial', 'semantic')), {'loss_presence'}),
        (dict(supervision=None), set()),
        (dict(supervision={}), set()),
        (dict(supervision=dict(interactions=None)), set()),
        (dict(supervision=parts(*PARTS)), set().union(*TERMS.values())),
        (dict(supervision=parts('prior', 'logit_kd')), {'loss_prior', 'loss_logits'}),
    ],
)
def test_the_losses_are_the_tasks_and_the_terms_of_the_parts(make_classifier, arguments, terms):
    losses = make_classifier(**arguments).loss(*batch())
    assert losses.keys() == {'loss_cls'} | terms
    for name, value in losses.items():
        assert value.ndim == 0
        assert value > 0, name


@pytest.mark.parametrize('part', PARTS)
def test_a_parts_losses_do_not_depend_on_what_else_is_learnt(make_classifier, part):
    """Each is asked its own questions, and reads its own answers."""
    alone, all_of_them = make_classifier(supervision=parts(part)), make_classifier(supervision=parts(*PARTS))
    alone.load_state_dict(all_of_them.state_dict(), strict=False)
    # With interactions class scores are those of the maps.
    ours, theirs = alone.loss(*batch()), all_of_them.loss(*batch())
    for name in TERMS[part]:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-5, msg=name)


def test_the_logs_loss_is_the_sum_of_all_terms(make_classifier):
    model = make_classifier(supervision=parts(*PARTS))
    losses = model.loss(*batch())
    total, log = model.parse_losses(losses)
    torch.testing.assert_close(log['loss'], sum(losses.values()))
    assert log['loss'] == total != log['loss_cls']


def test_weights_reach_their_parts(make_classifier):
    losses = [
        make_classifier(supervision=parts(prior=dict(loss_weight=weight))).loss(*batch())['loss_prior']
        for weight in (1.0, 4.0)
    ]
    torch.testing.assert_close(4 * losses[0], losses[1])


@pytest.mark.parametrize('write_back', ['none', 'gated'])
@pytest.mark.parametrize('supervision', [{}, parts(*PARTS)])
def test_the_task_loss_is_that_of_the_plain_classifier(make_classifier, write_back, supervision):
    model = make_classifier(backbone=dict(write_back=write_back, num_queries=8), supervision=supervision)
    plain = ImageClassifier(backbone=dict(type='mmpretrain.VisionTransformer', **VIT), head=dict(HEAD))
    missing = plain.load_state_dict(model.state_dict(), strict=False).missing_keys
    assert not missing
    assert torch.equal(model.loss(*batch())['loss_cls'], plain.train().loss(*batch())['loss'])


@pytest.mark.parametrize('name', [name for name in PARTS if name != 'prior'])
def test_every_part_teaches_the_backbone(make_classifier, name):
    model = make_classifier(supervision=parts(name))
    losses = model.loss(*batch())
    sum(losses[term] for term in TERMS[name]).backward()
    assert model.backbone.layers[0].attn.qkv.weight.grad.abs().sum() > 0


def test_learned_queries_do_not_change_what_is_asked_where_patches_do_not_read_them(make_classifier):
    losses = []
    for backbone in (dict(num_queries=0), dict(num_queries=8, write_back='none')):
        model = make_classifier(backbone=backbone)
        generator = torch.Generator().manual_seed(1)
        for name, parameter in sorted(model.named_parameters()):
            if 'interaction_queries' not in name:
                parameter.data.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
        losses.append(model.loss(*batch()))
    assert losses[0].keys() == losses[1].keys()
    for name, loss in losses[0].items():
        assert torch.equal(loss, losses[1][name]), name


def test_bf16_autocast_gives_close_float32_losses_and_finite_gradients(make_classifier):
    supervision = parts('interactions', 'dense_features', 'logit_kd', 'prior')
    model = make_classifier(supervision=supervision)
    expected = copy.deepcopy(model).loss(*batch())
    with torch.autocast('cpu', torch.bfloat16):
        losses = model.loss(*batch())
    sum(losses.values()).backward()
    for name, value in losses.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(expected[name].item(), rel=0.1)
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_padding_has_no_affinity(make_classifier):
    model = make_classifier(supervision=parts('prior'))
    inputs, samples = batch((32, 40), shapes=[None, (20, 40), None])
    seen = []
    compare = model.supervision.prior.compare
    model.supervision.prior.compare = lambda *args: seen.append(args) or compare(*args)
    model.loss(inputs, samples)
    ((locations, valid),) = seen
    assert locations.shape == (3, 16, 4, 5)
    assert valid.sum((1, 2)).tolist() == [20, 15, 20]
    assert valid[1, 3].sum() == 0


def test_the_images_of_a_broken_first_batch_are_named(make_classifier):
    inputs, samples = batch()
    inputs[1] = float('nan')
    for i, sample in enumerate(samples):
        sample.set_metainfo(dict(img_path=f'{i}.png'))
    message = r"teacher's maps: logits hold .* images \[1\] of the batch.* in order: 0.png, 1.png, 2.png"
    with pytest.raises(ValueError, match=message):
        make_classifier().loss(inputs, samples)


def test_what_captions_speak_of_joins_the_labels(make_classifier):
    model = make_classifier()
    inputs, samples = batch()
    expected = model.concept_labels(samples, inputs.device)
    assert expected.nonzero().tolist() == [[0, 0], [1, 3], [2, 1]]
    for sample, concepts in zip(samples, ([4, 5], [], [0])):
        sample.set_field(torch.tensor(concepts, dtype=torch.int64), 'gt_concepts')
    expected[0, [4, 5]] = expected[2, 0] = 1
    assert torch.equal(model.concept_labels(samples, inputs.device), expected)
    maps, _ = model.predict_interactions(inputs, samples)
    assert (maps.presence[0, [4, 5]] == 1).all()


def test_images_without_captions_may_stand_beside_those_with(make_classifier):
    model = make_classifier()
    inputs, samples = batch()
    expected = model.concept_labels(samples, inputs.device)
    samples[1].set_field(torch.tensor([4, 5]), 'gt_concepts')
    expected[1, [4, 5]] = 1
    assert torch.equal(model.concept_labels(samples, inputs.device), expected)


def test_a_training_step_compiles(make_classifier):
    model = make_classifier(supervision=parts('interactions', 'prior'))
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


# ---- What a part cannot learn of a batch -----------------------------------------------------------------

COPIES = ('affinity', 'dense_features', 'feature_mse', 'lightly_train')


@pytest.mark.parametrize('part', COPIES)
def test_no_features_of_padding_are_copied(make_classifier, part):
    model = make_classifier(supervision=parts(part))
    with pytest.raises(ValueError, match='an image of 24 x 32 pixels is padded to 32 x 32'):
        model.loss(*batch(shapes=[None, (24, 32), None]))
    # Class probabilities are those of the image.
    copied = make_classifier(supervision=parts('logit_kd')).loss(*batch(shapes=[None, (24, 32), None]))
    assert copied['loss_logits'] > 0


@pytest.mark.parametrize('part', COPIES)
def test_images_that_end_within_a_patch_are_refused(make_classifier, part):
    model = make_classifier(supervision=parts(part))
    if part == 'feature_mse':
        # An embedding has no place, and neither have class probabilities.
        assert model.loss(*batch((32, 28)))['loss_feature'] > 0
        assert make_classifier(supervision=parts('logit_kd')).loss(*batch((32, 28)))['loss_logits'] > 0
        return
    with pytest.raises(ValueError, match='images of 32 x 28 pixels end within a location of 8 x 8 pixels'):
        model.loss(*batch((32, 28)))


@pytest.mark.parametrize('part', COPIES)
def test_a_teacher_without_features_of_locations_is_refused(make_classifier, part):
    model = make_classifier('coca', supervision=parts(part), teacher=dict(extractor=dict(type='coca')))
    with pytest.raises(ValueError, match='has no features of locations to copy'):
        model.loss(*batch())


def test_images_of_several_views_are_refused(make_classifier):
    inputs, samples = batch()
    with pytest.raises(
        ValueError, match='StudentImageClassifier gets images as a list, but takes one tensor'
    ):
        make_classifier().loss([inputs, inputs], samples)


def test_two_parts_of_one_name_in_the_log_are_refused(make_classifier):
    twice = dict(first=PARTS['prior'], second=PARTS['prior'])
    with pytest.raises(
        ValueError, match='supervision.first and supervision.second are both lfi.AffinityPrior'
    ):
        make_classifier(supervision=twice)
    # A type of one's own may give a loss of another's name.
    model = make_classifier(supervision=dict(first=PARTS['prior']))
    model.supervision['second'] = AffinityPrior()
    with pytest.raises(ValueError, match="supervision.second gives 'loss_prior', and so does another part"):
        model.loss(*batch())


def test_the_order_of_parts_is_that_of_their_names(make_classifier):
    named = dict(b=PARTS['interactions'], a=PARTS['prior'], c=PARTS['logit_kd'])
    model = make_classifier(supervision=named)
    assert list(model.parts) == ['a', 'b', 'c']
    terms = [name for name in model.loss(*batch()) if name != 'loss_cls']
    assert terms == ['loss_prior', 'loss_spatial', 'loss_semantic', 'loss_presence', 'loss_logits']


def test_the_features_are_those_behind_the_maps(make_classifier):
    model = make_classifier()
    inputs, _ = batch()
    features, maps = (
        model.teacher.features(inputs, model.pixel_format),
        model.teacher(inputs, model.pixel_format),
    )
    assert torch.allclose(features.scores.softmax(-1), maps.presence, atol=1e-6)
    cosines = torch.einsum('ce,behw->bchw', model.teacher.text_embeddings, features.locations)
    assert torch.allclose(model.teacher.map_scale * cosines, maps.logits[:, 0], atol=1e-4)


@pytest.mark.parametrize(('vlm', 'extractor'), [('cnn_test_resnet', 'dense'), ('vit', 'maskclip')])
def test_dense_features_are_those_of_the_patches_that_the_readout_compares(make_classifier, vlm, extractor):
    teacher = dict(extractor=extractor, input_size=32)
    supervision = parts('interactions', dense_features=dict(loss_weight=3.0))
    model = make_classifier(vlm, supervision=supervision, teacher=teacher)
    inputs, samples = batch()
    losses = model.loss(inputs, samples)
    with model.backbone.record_interactions() as record:
        model.backbone(inputs)
    teacher_features = model.teacher.features(inputs, model.pixel_format).locations_on((4, 4)).flatten(2).mT
    mean, deviation = teacher_features.mean((0, 1)), teacher_features.std((0, 1), correction=0)
    ours = model.supervision.dense_features.head(record.states.locations().flatten(2).mT)
    target = (teacher_features - mean) / deviation
    cosine = 1 - torch.nn.functional.cosine_similarity(ours, target, dim=-1)
    torch.testing.assert_close(losses['loss_cosine'], 1.5 * cosine.mean(), rtol=1e-4, atol=1e-5)


def test_a_part_of_ones_own_learns_beside_ours(make_classifier, monkeypatch):
    class Norms(SupervisionPart):
        """It needs no teacher, and reads the vector."""

        student_outputs = frozenset({'vector'})

        def forward(self, outputs, target):
            assert target is None
            return {'loss_norm': outputs.vector.square().mean()}

    monkeypatch.setitem(MODELS.module_dict, 'Norms', Norms)
    model = make_classifier(supervision=dict(parts('interactions'), norms=dict(type='lfi.Norms')))
    inputs, samples = batch()
    losses = model.loss(inputs, samples)
    assert losses.keys() == {'loss_cls', 'loss_norm'} | TERMS['interactions']
    torch.testing.assert_close(losses['loss_norm'], model.extract_feat(inputs)[-1].square().mean())


@pytest.mark.parametrize('num_concepts', [len(NAMES), 3])
def test_class_scores_with_interactions_are_those_of_the_maps(make_classifier, num_concepts):
    taught = parts('interactions', logit_kd=dict(temperature=1.0))
    model = make_classifier(supervision=taught, teacher=dict(max_concepts=num_concepts))
    view = model.batch_of(*batch())
    maps, found = model.teacher.ask(view), model.part_targets(view)['logit_kd'].exp()
    asked = torch.arange(len(NAMES)).expand(3, -1) if maps.concepts is None else maps.concepts[:, :-1]
    assert found.shape == (3, CLASSES)
    for row, concepts in enumerate(asked.tolist()):
        for m, concept in enumerate(concepts):
            if concept < CLASSES:
                torch.testing.assert_close(found[row, concept], maps.presence[row, m])


def test_an_adapters_student_learns_from_every_part_too(make_classifier):
    model = make_classifier(backbone=ADAPTER, **OF_MAPS, supervision=parts(*PARTS))
    inputs, samples = batch((64, 64))
    losses = model.loss(inputs, samples)
    assert losses.keys() == {'loss_cls'}.union(*TERMS.values())
    assert all(value.isfinite() for value in losses.values())
