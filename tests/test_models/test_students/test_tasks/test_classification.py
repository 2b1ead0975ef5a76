"""Images without a label teach the head nothing, and the teacher's terms all the same."""

import copy

import pytest
import torch
from lfi.models import LabelledImageClassifier
from lfi.models.students.unlabelled import known_labels, labelled_rows
from lfi.registry import MODELS
from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.structures import DataSample

ARCH = dict(embed_dims=16, num_layers=4, num_heads=2, feedforward_channels=32)
LABELS = (0, 3, 1, 2)


def samples(hidden=()):
    found = []
    for row, label in enumerate(LABELS):
        sample = DataSample(metainfo=dict(img_shape=(32, 32), img_path=f'{row}.jpg'))
        if row in hidden:
            sample.set_metainfo(dict(unlabelled=True))
        found.append(sample.set_gt_label(-1 if row in hidden else label))
    return found


def batch(hidden=()):
    images = torch.randint(0, 256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    return dict(inputs=list(images.to(torch.uint8)), data_samples=samples(hidden))


def make_plain(head=None, **kwargs):
    torch.manual_seed(0)
    head = head or dict(type='LinearClsHead', num_classes=4, in_channels=16)
    config = dict(
        backbone=dict(type='VisionTransformer', arch=ARCH, img_size=32, patch_size=8),
        head=head,
        data_preprocessor=dict(type='ClsDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, num_classes=4),
    )
    for part in ('backbone', 'head', 'data_preprocessor'):
        config[part]['type'] = f'mmpretrain.{config[part]["type"]}'
    config['data_preprocessor'].update(kwargs.pop('data_preprocessor', {}))
    return LabelledImageClassifier(**config, **kwargs).train()


def losses_of(model, data):
    return model(**model.data_preprocessor(data, training=True), mode='loss')


@pytest.fixture
def make_taught(teacher_folder):
    """LFI, or a baseline; with a small teacher where it has one."""

    def make(type, **kwargs):
        torch.manual_seed(0)
        if type != 'lfi.PriorImageClassifier':
            kwargs['teacher'] = dict(
                type='lfi.VLMAttentionTeacher',
                model=teacher_folder('vit'),
                extractor=dict(type='maskclip'),
                concepts=['circle', 'square', 'star', 'ring', 'heart'],
            )
        model = MODELS.build(
            dict(
                type=type,
                backbone=dict(type='lfi.InteractionQueryViT', arch=ARCH, img_size=32, patch_size=8),
                head=dict(type='mmpretrain.LinearClsHead', num_classes=4, in_channels=16),
                data_preprocessor=dict(
                    type='mmpretrain.ClsDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, to_rgb=True
                ),
                **kwargs,
            )
        )
        model.init_weights()
        return model.train()

    return make


@pytest.fixture(
    params=[
        ('lfi.FeatureDistillClassifier', dict(distill_loss=dict(type='lfi.LogitKDLoss'))),
        ('lfi.LFIImageClassifier', dict(readout=dict(text_dims=24))),
        ('lfi.PriorImageClassifier', dict(affinity_prior=dict())),
    ],
    ids=['logit-kd', 'lfi', 'prior'],
)
def taught(request, make_taught):
    kind, arguments = request.param
    return make_taught(kind, **arguments)


def test_the_mark_decides_which_rows_have_a_label():
    assert labelled_rows(samples()) is None
    assert labelled_rows(samples({1, 2})) == [0, 3]
    assert labelled_rows(samples({0, 1, 2, 3})) == []
    assert [labels.tolist() for labels in known_labels(samples({1, 2}))] == [[0], [], [], [2]]
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


@pytest.mark.parametrize(
    'head',
    [
        dict(type='LinearClsHead', num_classes=4, in_channels=16, cal_acc=True),
        dict(type='VisionTransformerClsHead', num_classes=4, in_channels=16, hidden_dim=8),
    ],
)
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


def test_features_of_several_stages_and_parts_are_taken_by_row():
    class Head(torch.nn.Module):
        def loss(self, features, data_samples):
            (tokens, (first, second)) = features
            assert [len(part) for part in (tokens, first, second)] == [2] * 3
            return {'loss': tokens.sum() + first.sum() + second.sum()}

    model = make_plain()
    model.head = Head()
    part = torch.arange(4.0)[:, None]
    assert model.head_loss((part, [part, part]), samples({1, 2}))['loss_cls'] == 9


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


def test_the_backbone_runs_once(taught):
    calls = []
    taught.backbone.register_forward_hook(lambda *args: calls.append(1))
    losses_of(taught, batch({1, 2}))
    assert calls == [1]


def test_an_image_without_a_label_is_of_no_class(make_taught):
    model = make_taught('lfi.LFIImageClassifier', readout=dict(text_dims=24))
    labels = model.image_labels(samples({1, 2}), 5)
    assert labels.tolist() == [[1, 0, 0, 0, 0], [0] * 5, [0] * 5, [0, 0, 1, 0, 0]]
    assert not model.image_labels(samples({0, 1, 2, 3}), 5).any()


def test_presence_of_the_labels_alone_needs_them(make_taught):
    model = make_taught('lfi.LFIImageClassifier', readout=dict(text_dims=24), reading=dict(presence='label'))
    losses_of(model, batch())
    with pytest.raises(ValueError, match="presence='label' .*no label: set reading.presence"):
        losses_of(model, batch({1}))
