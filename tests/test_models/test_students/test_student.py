"""The class of a student, what it is built from, what it refuses; and the teacher outside of it."""

import copy
import pickle

import lfi
import pytest
import torch
from lfi.models import ByHead, Student
from lfi.models.students.student import student_class
from lfi.registry import MODELS
from mmengine.registry import init_default_scope
from mmpretrain.models.classifiers import ImageClassifier
from mmpretrain.registry import MODELS as MMPRETRAIN_MODELS
from small_detectors import prior_mask_rcnn
from small_students import (
    ADAPTER,
    BACKBONE,
    CLASSES,
    HEAD,
    NAMES,
    OF_MAPS,
    PARTS,
    VIT,
    batch,
    interactions,
    parts,
)

PLAIN = dict(type='mmpretrain.VisionTransformer', **VIT)


def build(**arguments):
    return MODELS.build(dict(dict(type='lfi.Student', backbone=BACKBONE), **arguments))


def classifier(**arguments):
    return build(**{'task': 'mmpretrain.ImageClassifier', 'head': HEAD, **arguments})


# ---- One class for each task -----------------------------------------------------------------------------


def test_a_student_is_of_its_tasks_class_and_of_students():
    first, second = classifier(), classifier(supervision=parts('prior'))
    assert isinstance(first, ImageClassifier) and isinstance(first, lfi.models.Student)
    assert type(first) is type(second) is student_class('mmpretrain.ImageClassifier')
    assert type(first).__name__ == 'StudentImageClassifier'
    assert issubclass(type(first), Student) and type(first) is not Student
    # By the class itself, too, as a lazy config has it.
    assert student_class(ImageClassifier) is type(first)
    assert type(Student(task=ImageClassifier, backbone=BACKBONE, head=HEAD)) is type(first)


def test_a_backbone_alone_is_of_no_other_class_than_a_classifier(make_pretrainer):
    assert type(make_pretrainer()) is student_class(None) is student_class('mmpretrain.ImageClassifier')


def test_a_detectors_student_is_a_detector(mmdet_scope):
    from mmdet.models.detectors import MaskRCNN

    model = prior_mask_rcnn()
    assert isinstance(model, MaskRCNN) and isinstance(model, Student)
    assert type(model).__name__ == 'StudentMaskRCNN'
    assert type(model) is student_class('mmdet.MaskRCNN')


def again_by_pickle(model):
    return pickle.loads(pickle.dumps(model))


@pytest.mark.parametrize('again', [copy.deepcopy, again_by_pickle])
@pytest.mark.parametrize('control', [None, dict(type='lfi.MeanTarget')])
def test_a_student_is_copied_and_goes_through_pickle(make_classifier, again, control):
    model = make_classifier(supervision=parts(*PARTS), control=control)
    if again is again_by_pickle:
        # A teacher that was built stays outside.
        model._teacher = None
    copied = again(model)
    assert type(copied) is type(model) and copied.backbone is not model.backbone
    weights = copied.state_dict()
    assert all(value.equal(weights[name]) for name, value in model.state_dict().items())
    losses = [each.loss(*batch()) for each in (model, copied)]
    assert all(torch.equal(losses[0][name], losses[1][name]) for name in losses[0])


@pytest.mark.parametrize('again', [copy.deepcopy, again_by_pickle])
def test_a_model_of_any_task_is_copied_and_goes_through_pickle(mmdet_scope, again):
    model = prior_mask_rcnn()
    copied = again(model)
    assert type(copied) is type(model) and copied.backbone is not model.backbone
    weights = copied.state_dict()
    assert all(value.equal(weights[name]) for name, value in model.state_dict().items())


def test_a_copy_of_a_compiled_model_has_its_own_weights(mmdet_scope):
    model = prior_mask_rcnn()
    model.compile(backend='eager')
    assert copy.deepcopy(model)._compiled_call_impl is None
    pickle.dumps(model)


def test_weights_have_the_names_that_they_have_in_the_tasks_model(make_classifier):
    plain = ImageClassifier(backbone=dict(PLAIN), head=dict(HEAD))
    model = make_classifier(supervision=parts(*PARTS), backbone=dict(num_queries=0))
    names = [name for name, _ in model.named_parameters()]
    own = [name for name in names if not name.startswith(('readout.', 'supervision.'))]
    assert own == [name for name, _ in plain.named_parameters()]
    added = {name.split('.')[1] for name in names if name.startswith('supervision.')}
    assert added == {'dense_features', 'feature_mse', 'lightly_train'}
    # One without any part has nothing else.
    bare = classifier(backbone=dict(BACKBONE, num_queries=0))
    assert list(bare.state_dict()) == list(plain.state_dict())


def test_layers_decay_by_the_names_of_the_tasks_model(make_classifier):
    # mmpretrain gives its own classifier the backbone's depths.
    plain = ImageClassifier(backbone=dict(PLAIN), head=dict(HEAD))
    model = make_classifier(supervision=parts(*PARTS), backbone=dict(num_queries=0))
    for name, _ in plain.named_parameters():
        assert model.get_layer_depth(name) == plain.get_layer_depth(name), name
    depth, last = model.get_layer_depth('supervision.dense_features.head.1.weight')
    assert depth == last - 1


def test_a_task_of_ones_own_is_named_by_its_type(make_classifier, monkeypatch):
    class Doubled(ImageClassifier):
        """Its task's losses count twice."""

        def loss(self, inputs, data_samples):
            return {name: 2 * value for name, value in super().loss(inputs, data_samples).items()}

    monkeypatch.setitem(MMPRETRAIN_MODELS._module_dict, 'Doubled', Doubled)
    losses = [
        make_classifier(task=f'mmpretrain.{name}').loss(*batch()) for name in ('ImageClassifier', 'Doubled')
    ]
    model = make_classifier(task='mmpretrain.Doubled')
    assert isinstance(model, Doubled) and type(model).__name__ == 'StudentDoubled'
    torch.testing.assert_close(losses[1]['loss_cls'], 2 * losses[0]['loss_cls'])
    torch.testing.assert_close(losses[1]['loss_spatial'], losses[0]['loss_spatial'])
    with pytest.raises(
        ValueError, match='Doubled.loss overrides the loss of mmpretrain, and images without a label'
    ):
        model.loss(*batch(hidden=(0,)))
    with pytest.raises(ValueError, match='Doubled.loss overrides the loss of mmpretrain, .* lfi.LogitKD'):
        make_classifier(task='mmpretrain.Doubled', supervision=parts('logit_kd')).loss(*batch())


# ---- What it is built from -------------------------------------------------------------------------------


def test_without_parts_and_readout_it_is_the_tasks_model(make_classifier):
    model = make_classifier(teacher=None, supervision=None)
    assert model.readout is None and not model.parts and not model.teacher_outputs and model.control is None
    assert isinstance(model.predict_by, ByHead)
    with pytest.raises(TypeError, match='StudentImageClassifier has no teacher: set model.teacher'):
        _ = model.teacher
    # Any backbone will do where nothing is asked.
    assert classifier(backbone=PLAIN).loss(*batch()).keys() == {'loss_cls'}


@pytest.mark.parametrize(
    ('arguments', 'is_built'),
    [
        (dict(), True),
        (dict(supervision=parts('prior')), False),
        (dict(supervision=parts('logit_kd')), False),
        (dict(supervision={}, readout={}), True),
        (dict(supervision={}, predict_by=dict(type='lfi.ByTexts')), True),
    ],
)
def test_there_is_a_readout_where_something_reads_it(make_classifier, arguments, is_built):
    model = make_classifier(std=0.1, **arguments)
    assert (model.readout is not None) is is_built


def test_the_readout_is_as_wide_as_the_teachers_text_space_unless_it_is_stated(make_classifier, tmp_path):
    by_config, stated = make_classifier(), make_classifier(readout=dict(text_dims=24))
    assert by_config.readout.text_dims == by_config.teacher.text_embeddings.shape[1] == 24
    for name, value in stated.readout.state_dict().items():
        assert torch.equal(value, by_config.readout.state_dict()[name])
    gone = dict(model=str(tmp_path / 'gone'))
    with pytest.raises(FileNotFoundError, match='^teacher folder not found.* readout.text_dims'):
        make_classifier(teacher=gone)
    with pytest.raises(ValueError, match='without model.teacher, set readout.text_dims to'):
        classifier(readout={})
    assert classifier(readout=dict(text_dims=8)).readout.text_dims == 8


def test_a_readout_that_no_part_trains_is_refused_when_training_begins(make_classifier):
    for supervision in (parts('logit_kd'), parts('prior')):
        with pytest.raises(ValueError, match='readout is given, but no supervision part trains it'):
            make_classifier(supervision=supervision, readout={})


@pytest.mark.parametrize('part', ['dense_features', 'feature_mse', 'lightly_train'])
def test_parts_are_as_wide_as_the_teachers_text_space_unless_it_is_stated(make_classifier, part):
    widths = [
        make_classifier(std=0.1, supervision=parts(**{part: stated})).state_dict()
        for stated in ({}, dict(teacher_dims=24), dict(teacher_dims=9))
    ]
    shapes = [{name: value.shape for name, value in state.items()} for state in widths]
    assert shapes[0] == shapes[1] != shapes[2]


@pytest.mark.parametrize('part', ['feature_mse', 'lightly_train'])
def test_a_vector_of_another_width_is_named(make_classifier, part):
    model = make_classifier(supervision=parts(**{part: dict(student_dims=12)}))
    with pytest.raises(ValueError, match='student_dims=12, but the pooled vector of an image has 16 values'):
        model.loss(*batch())


@pytest.mark.parametrize(
    ('options', 'learnt'),
    [
        (dict(), False),
        (dict(supervision=parts('prior')), True),
        (dict(supervision=parts('logit_kd')), False),
        (dict(supervision=parts('affinity')), True),
    ],
)
def test_an_adapters_locations_are_learnt_where_something_reads_them(options, learnt):
    init_default_scope('mmpretrain')
    teacher = dict(type='lfi.VLMAttentionTeacher', model='shapes-tiny', concepts=NAMES)
    model = classifier(backbone=ADAPTER, **OF_MAPS, teacher=teacher, **options)
    layers = model.backbone.interaction.layers
    assert {p.requires_grad for layer in layers for p in layer.project_map.parameters()} == {learnt}


# ---- The teacher stays outside ---------------------------------------------------------------------------


def test_the_teacher_is_no_part_of_the_model(make_classifier):
    model = make_classifier()
    model.loss(*batch())
    own = ('backbone.', 'head.', 'readout.')
    assert all(name.startswith(own) for name in model.state_dict())
    assert all(name.startswith(own) for name, _ in model.named_parameters())
    inside = set(model.teacher.visual.modules())
    assert inside.isdisjoint(model.modules())
    copied = copy.deepcopy(model)
    assert copied.teacher is model.teacher
    assert copied.readout.question_head is not model.readout.question_head


def test_the_teacher_is_built_for_training_only(make_classifier, tmp_path):
    missing = dict(model=str(tmp_path / 'gone'))
    with pytest.raises(FileNotFoundError, match='teacher folder not found'):
        make_classifier(teacher=missing, readout=dict(text_dims=24))
    model = make_classifier(std=0.1, teacher=missing, readout=dict(text_dims=24))
    predictions = model.eval().predict(*batch())
    assert [p.pred_score.shape for p in predictions] == [(CLASSES,)] * 3
    assert not model.teacher_is_built


def test_one_step_asks_the_teacher_once_without_gradients_and_predicting_never_does(
    make_classifier, teacher_calls
):
    model = make_classifier(supervision=parts('interactions', 'logit_kd', 'prior'))
    inputs, samples = batch()
    for _ in range(2):
        sum(model.loss(inputs, samples).values()).backward()
    assert teacher_calls == [(False, 3)] * 2
    model.eval().predict(inputs, samples)
    assert len(teacher_calls) == 2


def test_a_prior_alone_asks_no_teacher(make_classifier, teacher_calls):
    model = make_classifier(supervision=parts('prior'))
    model.loss(*batch())
    assert not teacher_calls and not model.teacher_is_built


# ---- What is refused -------------------------------------------------------------------------------------


def refused(message, **arguments):
    with pytest.raises(ValueError, match=message) as caught:
        build(**arguments)
    assert '\n' not in str(caught.value)


class NoBackbone(ImageClassifier):
    """Names its backbone otherwise."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.trunk = self.backbone
        del self.backbone


class TwoBackbones(ImageClassifier):
    """As one that distils."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.teacher_backbone = copy.deepcopy(self.backbone)


class TakesTeacher(ImageClassifier):
    def __init__(self, *args, teacher=None, **kwargs):
        super().__init__(*args, **kwargs)


class TakesTask(ImageClassifier):
    def __init__(self, *args, task=None, **kwargs):
        super().__init__(*args, **kwargs)


@pytest.mark.parametrize(
    ('task', 'message'),
    [
        (
            'mmdet.Nothing',
            "task='mmdet.Nothing' is not a registered model; give its scope too",
        ),
        ('MaskRCNNN', "task='MaskRCNNN' is not a registered model"),
        (3, 'task=3 is not a registered model'),
        ('lfi.Student', "task='lfi.Student' is a student already: name the model of the task alone"),
        (
            'mmpretrain.VisionTransformer',
            "of no known family of tasks: a student inherits from .*mmpretrain's "
            'ImageClassifier.*, or from the base of a family of your own, as docs/extend.md shows',
        ),
        (
            NoBackbone,
            'has no backbone: a student needs a task whose model has one backbone, named',
        ),
        (TwoBackbones, 'has backbone, teacher_backbone: a student needs a task whose model has one backbone'),
        (TakesTeacher, "takes an argument 'teacher' of its own, which a student has too: rename it in"),
        (TakesTask, "takes an argument 'task' of its own, which a student has too: rename it in"),
    ],
)
def test_a_task_that_fits_no_student_is_refused(task, message):
    refused(message, task=task, head=HEAD)


def test_a_student_class_of_a_student_is_refused():
    refused('is a student already', task=student_class('mmpretrain.ImageClassifier'), head=HEAD)


def test_a_readout_that_does_not_fit_the_teacher_is_refused_before_training(make_classifier):
    with pytest.raises(
        ValueError, match='readout.text_dims=512, but the teacher embeds its texts in 24 dims'
    ):
        make_classifier(readout=dict(text_dims=512))


@pytest.mark.parametrize('part', PARTS)
def test_a_backbone_that_records_nothing_is_refused(make_classifier, part):
    message = 'StudentImageClassifier needs a backbone that records .*got VisionTransformer'
    with pytest.raises(TypeError, match=message):
        make_classifier(backbone=PLAIN, supervision=parts(part))


@pytest.mark.parametrize('part', ['interactions', 'logit_kd'])
def test_more_classes_than_concepts_are_refused(make_classifier, part):
    message = 'head.num_classes=4, but the teacher has 3 concepts'
    with pytest.raises(ValueError, match=message):
        make_classifier(teacher=dict(concepts=NAMES[:3]), supervision=parts(part))
    # The background is no class.
    with pytest.raises(ValueError, match=message):
        make_classifier(teacher=dict(concepts=NAMES[:3], background=['sky']), supervision=parts(part))


def test_a_teacher_without_a_reading_over_concepts_needs_a_loss_without_one(make_classifier):
    teacher = dict(extractor=dict(type='legrad'))
    reading = dict(spatial_reading='logits', presence='image')
    message = r'supervision.interactions: .*no semantic direction: set loss.semantic_weight=0'
    with pytest.raises(ValueError, match=message):
        make_classifier(teacher=teacher, supervision=interactions(reading))
    model = make_classifier(teacher=teacher, supervision=interactions(reading, semantic_weight=0))
    assert 'loss_semantic' not in model.loss(*batch())


def test_a_teacher_that_judges_by_itself_must_be_asked_about_all_classes(make_classifier):
    taught = dict(supervision=parts('logit_kd'), teacher=dict(max_concepts=2))
    with pytest.raises(ValueError, match='supervision.logit_kd: .*set teacher.max_concepts=None'):
        make_classifier('vit_bias', **taught)
    make_classifier('vit', **taught)
