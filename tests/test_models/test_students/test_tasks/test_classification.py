"""Classifiers: images without a label teach the head nothing, and the teacher's terms all the same."""

import copy

import pytest
import torch
from lfi.errors import UsageError
from lfi.models.students.tasks.classification import Classification, known_labels
from lfi.registry import MODELS
from lfi.structures import labelled_rows
from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.structures import DataSample
from small_students import HEAD, NORMALISE, VIT, losses_of, parts, raw_batch

ALL = (0, 1, 2, 3)
NORM_BUFFERS = ('running_mean', 'running_var', 'num_batches_tracked')
HEADS = {
    'linear': dict(type='LinearClsHead', num_classes=4, in_channels=16, cal_acc=True),
    'two layers': dict(type='VisionTransformerClsHead', num_classes=4, in_channels=16, hidden_dim=8),
}


def batch(hidden=()):
    """Images whose labels are -1 where they are marked as unlabelled."""
    return raw_batch([-1 if row in hidden else label for row, label in enumerate((0, 3, 1, 2))], hidden)


def samples(hidden=()):
    return batch(hidden)['data_samples']


def make_plain(head=HEAD, data_preprocessor=None, **kwargs):
    """A student without parts, readout and teacher."""
    torch.manual_seed(0)
    own = dict(type='mmpretrain.ClsDataPreprocessor', num_classes=4, **NORMALISE)
    config = dict(
        type='lfi.Student',
        task='mmpretrain.ImageClassifier',
        backbone=dict(type='mmpretrain.VisionTransformer', **VIT),
        head=dict(head, type=f'mmpretrain.{head["type"].removeprefix("mmpretrain.")}'),
        data_preprocessor={**own, **(data_preprocessor or {})},
    )
    return MODELS.build({**config, **kwargs}).train()


@pytest.fixture(params=['logit_kd', 'interactions', 'prior', 'affinity'])
def taught(request, make_classifier):
    return make_classifier(supervision=parts(request.param))


def test_the_mark_decides_which_rows_have_a_label():
    assert labelled_rows(samples()) is None
    assert labelled_rows(samples({1, 2})) == [0, 3]
    assert labelled_rows(samples({0, 1, 2, 3})) == []
    assert [labels.tolist() for labels in known_labels(samples({1, 2}), torch.device('cpu'))] == [
        [0],
        [],
        [],
        [2],
    ]
    odd = samples()
    odd[0].set_metainfo(dict(unlabelled=False))
    odd[1].set_metainfo(dict(unlabelled=True))
    assert labelled_rows(odd) == [0, 2, 3]


def test_with_all_labels_the_loss_is_mmpretrains():
    model, data = make_plain(), batch()
    data = model.data_preprocessor(data, training=True)
    theirs = ImageClassifier.loss(model, **data)
    assert torch.equal(model.loss(**data)['loss_cls'], theirs['loss'])


@pytest.mark.parametrize('hidden', [(), {1, 2}, {0, 1, 2, 3}])
def test_the_logs_loss_is_the_sum_of_all_terms(taught, hidden):
    losses = losses_of(taught, batch(hidden))
    total, log = taught.parse_losses(losses)
    assert 'loss_cls' in log and len(losses) > 1
    torch.testing.assert_close(log['loss'], sum(losses.values()))
    assert log['loss'] == total != log['loss_cls']


def test_the_heads_term_takes_no_others_place():
    model = make_plain()
    model.head.loss = lambda features, samples: dict(loss=features[0].sum(), loss_cls=features[0].sum())
    with pytest.raises(ValueError, match="the head gives both 'loss' and 'loss_cls'"):
        losses_of(model, batch())


@pytest.mark.parametrize('hidden', [{0}, {1, 2}, {0, 1, 3}])
def test_the_head_learns_from_the_labelled_images_alone(hidden):
    model, data = make_plain(), batch(hidden)
    kept = [row for row in range(4) if row not in hidden]
    alone = {key: [values[row] for row in kept] for key, values in copy.deepcopy(data).items()}
    ours, theirs = losses_of(model, data)['loss_cls'], losses_of(model, alone)['loss_cls']
    assert torch.allclose(ours, theirs, atol=1e-6)
    grads = [torch.autograd.grad(loss, [*model.parameters()], allow_unused=True) for loss in (ours, theirs)]
    for mine, their in zip(*grads):
        assert mine is their is None or torch.allclose(mine, their, atol=1e-5)


@pytest.mark.parametrize('head', HEADS.values(), ids=HEADS)
def test_without_any_label_the_loss_is_exactly_0_and_the_head_has_gradients(head):
    model = make_plain(head)
    losses = losses_of(model, batch({0, 1, 2, 3}))
    assert losses['loss_cls'].item() == 0
    model.parse_losses(losses)[0].backward()
    for parameter in model.head.parameters():
        assert parameter.grad is not None and not parameter.grad.any()
    assert not model.backbone.patch_embed.projection.weight.grad.any()


def test_a_single_label_is_too_few_for_a_head_that_normalises_by_batch():
    norm = dict(type='BN1d')
    head = dict(type='StackedLinearClsHead', num_classes=4, in_channels=16, mid_channels=[8], norm_cfg=norm)
    model = make_plain(head)
    for hidden in ((), (0, 1), (0, 1, 2, 3)):
        assert losses_of(model, batch(hidden))['loss_cls'].isfinite()
    with pytest.raises(ValueError, match='one image of the batch has a label, 3.jpg, and the BatchNorm1d'):
        losses_of(model, batch((0, 1, 2)))


@pytest.mark.parametrize('momentum', [0.1, None])
def test_without_any_label_the_statistics_of_a_head_stay_as_they_were(momentum):
    norm = dict(type='BN1d', momentum=momentum)
    head = dict(type='StackedLinearClsHead', num_classes=4, in_channels=16, mid_channels=[8], norm_cfg=norm)
    model = make_plain(head)
    losses_of(model, batch())
    buffers = dict(model.head.named_buffers())
    before = {name: buffer.clone() for name, buffer in buffers.items()}
    assert before.keys() == {f'layers.0.norm.{name}' for name in NORM_BUFFERS}
    losses_of(model, batch(ALL))['loss_cls'].backward()
    # The tensors are the same ones, which DDP holds.
    for name, buffer in model.head.named_buffers():
        assert buffer is buffers[name] and torch.equal(buffer, before[name]), name
    losses_of(model, batch((0, 1)))
    assert model.head.layers[0].norm.num_batches_tracked == 2


def test_features_of_several_stages_and_parts_are_taken_by_row():
    class Head(torch.nn.Module):
        def loss(self, features, data_samples):
            (tokens, (first, second)) = features
            assert [len(part) for part in (tokens, first, second)] == [2] * 3
            return {'loss': tokens.sum() + first.sum() + second.sum()}

    model = make_plain()
    model.head = Head()
    part = torch.arange(4.0)[:, None]
    model.extract_feat = lambda inputs: (part, [part, part])
    data = model.data_preprocessor(batch({1, 2}), training=True)
    assert model.loss(**data)['loss_cls'] == 9


def test_an_unmarked_label_below_0_is_refused_in_training_alone():
    model, data = make_plain(), batch()
    data['data_samples'][2].set_gt_label(-1)
    with pytest.raises(ValueError, match=r'2.jpg has the label \[-1\], and no mark.*FewLabels.*meta_keys'):
        model.data_preprocessor(copy.deepcopy(data), training=True)
    with pytest.raises(ValueError, match='meta_keys'):
        model.data_preprocessor(copy.deepcopy(data), True)
    model.data_preprocessor(data, training=False)


@pytest.mark.parametrize(
    'options',
    [
        dict(train_cfg=dict(augments=dict(type='Mixup', alpha=0.8))),
        dict(data_preprocessor=dict(to_onehot=True)),
    ],
)
def test_labels_that_are_made_scores_are_refused(options):
    model = make_plain(**options)
    model.data_preprocessor(batch(), training=True)
    with pytest.raises(ValueError, match='1.jpg has no label, but labels are made scores.*batch_augments'):
        losses_of(model, batch({1}))


def test_scores_that_come_with_the_images_are_refused():
    model, data = make_plain(), batch({1})
    for sample in data['data_samples']:
        sample.set_gt_score(torch.full((4,), 0.25))
    with pytest.raises(ValueError, match='1.jpg has no label'):
        losses_of(model, data)


def test_other_terms_are_of_all_images(taught):
    state = copy.deepcopy(taught.state_dict())
    losses = losses_of(taught, batch({1, 2}))
    taught.load_state_dict(state)
    alone = {key: [values[row] for row in (0, 3)] for key, values in batch().items()}
    fewer = losses_of(taught, alone)
    assert losses.keys() == fewer.keys() and len(losses) > 1
    assert torch.allclose(losses['loss_cls'], fewer['loss_cls'], atol=1e-5)
    for name in losses.keys() - {'loss_cls'}:
        assert not torch.allclose(losses[name], fewer[name], atol=1e-5), name


def test_without_any_label_a_student_learns_and_all_parameters_have_gradients(taught, unlearnt):
    losses = losses_of(taught, batch({0, 1, 2, 3}))
    assert losses['loss_cls'].item() == 0
    sum(losses.values()).backward()
    assert not unlearnt(taught)
    assert taught.backbone.patch_embed.projection.weight.grad.any()


def labels_of(data_samples):
    return Classification().labels(data_samples, 5, 4, torch.device('cpu'))


def test_labels_single_several_or_mixed_stand_for_the_first_concepts():
    found = raw_batch((2, [0, 3], 1))['data_samples']
    assert labels_of(found).nonzero().tolist() == [[0, 2], [1, 0], [1, 3], [2, 1]]
    scores = torch.tensor([[0.3, 0.0, 0.7, 0.0], [0.0, 1.0, 0.0, 0.0], [0.5, 0.0, 0.0, 0.5]])
    for sample, score in zip(found, scores):
        sample.set_gt_score(score)
    assert torch.equal(labels_of(found), torch.nn.functional.pad(scores, (0, 1)))


def test_an_image_without_a_label_is_of_no_class(make_classifier):
    assert labels_of(samples({1, 2})).tolist() == [[1, 0, 0, 0, 0], [0] * 5, [0] * 5, [0, 0, 1, 0, 0]]
    assert not labels_of(samples(ALL)).any()
    # A mixed one has scores.
    found = samples({1})
    for sample in found:
        sample.set_gt_score(torch.full((4,), 0.25))
    labels = make_classifier().concept_labels(found, torch.device('cpu'))
    assert labels[:, :4].any(1).tolist() == [True, False, True, True]


def test_presence_of_the_labels_alone_needs_them(make_classifier):
    reading = dict(interactions=dict(reading=dict(presence='label')))
    model = make_classifier(supervision=parts(**reading))
    losses_of(model, batch())
    message = "presence='label' .*no label: set supervision.interactions.reading.presence"
    with pytest.raises(ValueError, match=message):
        losses_of(model, batch({1}))


def test_an_image_without_a_label_must_say_so():
    sample = DataSample(metainfo=dict(img_path='photos/1.jpg'))
    with pytest.raises(UsageError, match='photos/1.jpg has no gt_label, and no mark .* by .*lfi.ImageFolder'):
        known_labels([sample], torch.device('cpu'))
