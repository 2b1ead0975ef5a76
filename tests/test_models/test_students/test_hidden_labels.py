"""No label leaks: what is annotated of an image that is marked as unlabelled changes nothing of a step."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lfi.registry import MODELS
from mmengine.config import ConfigDict
from mmengine.registry import init_default_scope
from mmengine.structures import PixelData
from small_detectors import INTERACTIONS, PRIOR, sample
from small_students import BACKBONE, CLASSES, NAMES, NORMALISE, PARTS, batch, parts, small_classifier

ROWS = 4
SIZE = (64, 64)
ALL = parts(*PARTS)
# A detector's task gives neither vector nor scores.
DENSE = dict(PRIOR, interactions=INTERACTIONS, affinity=PARTS['affinity'], features=PARTS['dense_features'])
IDS = ('method', 'other image', 'mean')
CONTROLS = [None, dict(type='lfi.OtherImage'), dict(type='lfi.MeanTarget')]


def step(model, inputs, samples):
    """The losses and the gradients of a model's step, which leaves it as it was."""
    torch.manual_seed(0)
    trained = copy.deepcopy(model).train()
    losses = trained(inputs, copy.deepcopy(samples), mode='loss')
    total, log = trained.parse_losses(losses)
    if total.requires_grad:
        total.backward()
    gradients = {name: p.grad for name, p in trained.named_parameters() if p.grad is not None}
    return dict(log), gradients


def assert_same(first, second):
    for ours, theirs in zip(first, second):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            assert torch.equal(value, theirs[name]), name


def differs(first, second):
    return any(not torch.equal(value, second[0][name]) for name, value in first[0].items())


@pytest.fixture(scope='module')
def models(teacher_folder, make_detector):
    """Students with every part that their task can have, built once."""
    built = {}

    def make(task, control, reading='image', max_concepts=None):
        key = repr((task, control, reading, max_concepts))
        if key not in built:
            own = dict(type='lfi.Interactions', reading=dict(presence=reading))
            teacher = dict(max_concepts=max_concepts)
            if task == 'classifier':
                supervision = dict(ALL, interactions=own)
                built[key] = small_classifier(
                    teacher_folder('vit'), teacher=teacher, supervision=supervision, control=control
                )
            else:
                supervision = dict(DENSE, interactions=own)
                built[key] = make_detector('mask_rcnn', supervision=supervision, control=control)
            _ = built[key].teacher
        return built[key]

    return make


@pytest.mark.parametrize('control', CONTROLS, ids=IDS)
@pytest.mark.parametrize('reading', ['image', 'best-location'])
@pytest.mark.parametrize('max_concepts', [None, 2])
@settings(max_examples=8)
@given(
    hidden=st.sets(st.integers(0, ROWS - 1), min_size=1),
    labels=st.lists(st.integers(0, CLASSES - 1), min_size=ROWS, max_size=ROWS),
    others=st.lists(st.integers(0, CLASSES - 1), min_size=ROWS, max_size=ROWS),
)
def test_of_a_classifier(models, control, reading, max_concepts, hidden, labels, others):
    model = models('classifier', control, reading, max_concepts)
    seen = [other if row in hidden else label for row, (label, other) in enumerate(zip(labels, others))]
    found = [step(model, *batch(shapes=[None] * ROWS, labels=each, hidden=hidden)) for each in (labels, seen)]
    assert_same(*found)


@pytest.mark.parametrize('control', CONTROLS, ids=IDS)
def test_of_captions_nothing_is_hidden_and_of_labels_nothing_is_shown(models, control):
    """A caption is no label: it teaches whether or not the image has one."""
    model = models('classifier', control)

    def with_captions(labels, spoken):
        inputs, samples = batch(shapes=[None] * ROWS, labels=labels, hidden=(1, 3))
        for each, concepts in zip(samples, spoken):
            each.set_field(torch.tensor(concepts, dtype=torch.long), 'gt_concepts')
        return step(model, inputs, samples)

    spoken = [[0], [4, 5], [], [2]]
    first = with_captions((0, 3, 1, 2), spoken)
    assert_same(first, with_captions((0, 0, 1, 1), spoken))
    assert differs(first, with_captions((0, 3, 1, 2), [[0], [4, 3], [], [2]]))
    assert differs(first, with_captions((2, 3, 1, 2), spoken))


@pytest.mark.parametrize('training', [False, True])
def test_of_targets_and_pictures(make_classifier, training):
    model = make_classifier(supervision=ALL).train(training)
    found = []
    for labels in ((0, 3, 1), (0, 2, 1)):
        inputs, samples = batch(labels=labels, hidden=(1,))
        view = model.batch_of(inputs, samples)
        targets = copy.deepcopy(model).part_targets(view)
        presence = model.predict_interactions(inputs, samples)[0].presence
        found.append((view.labels, targets['interactions'].presence, targets['logit_kd'], presence))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*found))
    assert not found[0][0][1].any() and found[0][0][[0, 2]].any(1).all()


def boxes(*rows):
    """A box of a label for each image; None for one that is hidden and has no annotation."""
    made = []
    for label, hidden, box in rows:
        info = dict(unlabelled=True) if hidden else {}
        made.append(sample(SIZE, [] if box is None else [box], [] if box is None else [label], **info))
    return made


@pytest.mark.parametrize('control', CONTROLS, ids=IDS)
@pytest.mark.parametrize('hidden', [(1,), (0, 2), (0, 1, 2)])
def test_of_a_detector(models, control, hidden):
    model = models('detector', control)
    inputs = torch.randint(0, 256, (3, 3, *SIZE), generator=torch.Generator().manual_seed(3)).float()
    first, second = [8, 8, 50, 60], [4, 4, 30, 30]
    found = []
    for label, box in ((1, first), (2, first), (1, second), (0, None)):
        rows = [(label, True, box) if row in hidden else (3, False, first) for row in range(3)]
        init_default_scope('mmdet')
        found.append(step(model, inputs, boxes(*rows)))
    for other in found[1:]:
        assert_same(found[0], other)
    if len(hidden) < 3:
        changed = [(1, True, first) if row in hidden else (2, False, first) for row in range(3)]
        assert differs(found[0], step(model, inputs, boxes(*changed)))


@pytest.mark.parametrize('control', CONTROLS, ids=IDS)
@pytest.mark.parametrize('hidden', [(1,), (0, 1)])
def test_of_a_segmentor(teacher_folder, control, hidden):
    mmseg = pytest.importorskip('mmseg.structures', reason='mmsegmentation is not installed')

    init_default_scope('mmseg')
    torch.manual_seed(0)
    head = dict(type='FCNHead', in_channels=16, channels=16, num_convs=1, num_classes=4, dropout_ratio=0)
    teacher = dict(
        type='lfi.VLMAttentionTeacher', model=teacher_folder('vit'), extractor='maskclip', concepts=NAMES
    )
    cfg = dict(
        type='lfi.Student',
        task='mmseg.EncoderDecoder',
        backbone=dict(BACKBONE, with_cls_token=False, out_type='featmap'),
        decode_head=head,
        data_preprocessor=dict(type='SegDataPreProcessor', bgr_to_rgb=True, **NORMALISE),
        teacher=teacher,
        supervision=DENSE,
        control=control,
    )
    model = MODELS.build(ConfigDict(cfg))
    _ = model.teacher
    inputs = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))

    def classes(first, second):
        made = []
        for row, value in enumerate((first, second)):
            found = mmseg.SegDataSample(metainfo=dict(img_shape=(32, 32), ori_shape=(32, 32)))
            found.gt_sem_seg = PixelData(data=torch.full((1, 32, 32), value))
            if row in hidden:
                found.set_metainfo(dict(unlabelled=True))
            made.append(found)
        return made

    known = 0 if 0 not in hidden else 1
    found = [step(model, inputs, classes(known, known))]
    for value in (2, 3, 255):
        other = [value if row in hidden else known for row in range(2)]
        found.append(step(model, inputs, classes(*other)))
        assert_same(found[0], found[-1])
    if len(hidden) < 2:
        assert differs(found[0], step(model, inputs, classes(3, known)))


@pytest.mark.parametrize('name', [name for name in PARTS if name != 'logit_kd'])
def test_of_a_backbone_alone_no_label_is_read(make_pretrainer, name):
    model = make_pretrainer(supervision=parts(name))
    found = [step(model, *batch(labels=labels)) for labels in ((0, 3, 1), (2, 2, 2))]
    assert_same(*found)
