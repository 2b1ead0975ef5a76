"""What of supervision is refused when a student is built: each in one line, by its key."""

import pytest
from lfi.models.students.components import build_supervision
from lfi.models.students.tasks.classification import Classification
from lfi.models.students.tasks.detection import Detection
from lfi.models.students.tasks.pretraining import Pretraining
from lfi.models.students.tasks.segmentation import Segmentation
from small_students import PARTS, TERMS, batch, parts

TEACHER = dict(type='lfi.VLMAttentionTeacher')
TAUGHT = [name for name in PARTS if name != 'prior']


def refused(supervision, message, task=Classification, teacher=TEACHER):
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        build_supervision(supervision, task, teacher)
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(
    ('supervision', 'message'),
    [
        (
            [dict(type='lfi.LogitKD')],
            r'supervision=\[.*\] must be a dict of parts by name, such as dict\(interact',
        ),
        ('lfi.LogitKD', "supervision='lfi.LogitKD' must be a dict of parts by name"),
        (1, 'supervision=1 must be a dict'),
        (dict(kd='lfi.LogitKD'), "supervision.kd='lfi.LogitKD' must be a config with a type, such as dict"),
        (dict(kd=[]), r'supervision.kd=\[\] must be a config with a type, .* or None'),
        (
            dict(kd=dict(temperature=2.0)),
            r"supervision.kd=\{'temperature': 2.0\} must be a config with a type",
        ),
        (
            dict(kd=dict(type='lfi.LogitsKD')),
            r"supervision.kd.type='lfi.LogitsKD' is unknown; choose from \['lfi.Aff.*'lfi.LogitKD'",
        ),
        (
            dict(kd=dict(type='lfi.OtherImage')),
            "kd.type='lfi.OtherImage' is no SupervisionPart; choose",
        ),
        (
            dict(kd=dict(type='lfi.LogitKD', temperature=0)),
            'supervision.kd: .*temperature=0 must be',
        ),
        (dict(kd=dict(type='lfi.LogitKD', warmth=2)), 'supervision.kd: .*warmth'),
        (dict(kd=dict(type='lfi.LogitKD', loss_weight=-1)), 'supervision.kd: .*loss_weight=-1'),
        (
            {'a.b': PARTS['prior']},
            "a part named 'a.b'. The name is reserved, or is not made of letters, digits and _",
        ),
        *(
            ({name: PARTS['prior']}, f"supervision has a part named '{name}'. The name is reserved")
            for name in ('predict_by', 'train', 'forward', 'keys')
        ),
    ],
)
def test_what_is_no_part_is_refused(supervision, message):
    refused(supervision, message)


@pytest.mark.parametrize('supervision', [[], '', 0, False, ['lfi.LogitKD']])
def test_a_student_refuses_it_too(make_classifier, supervision):
    with pytest.raises(ValueError, match='must be a dict of parts by name'):
        make_classifier(supervision=supervision)


@pytest.mark.parametrize('name', TAUGHT)
def test_a_part_that_needs_a_teacher_is_refused_without_one(name):
    message = f'supervision.{name} needs a teacher: set model.teacher, or supervision.{name}=None'
    refused(parts(name), message, teacher=None)
    assert build_supervision({name: None}, Classification, None) == {}


def test_the_prior_needs_none(make_classifier):
    model = make_classifier(teacher=None, supervision=parts('prior'))
    assert model.loss(*batch()).keys() == {'loss_cls'} | TERMS['prior']


@pytest.mark.parametrize(
    ('task', 'lacking'),
    [
        (Classification, {}),
        (Pretraining, dict(logit_kd='scores')),
        (Detection, dict(logit_kd='scores', feature_mse='vector', lightly_train='vector')),
        (Segmentation, dict(logit_kd='scores', feature_mse='vector', lightly_train='vector')),
    ],
)
@pytest.mark.parametrize('name', PARTS)
def test_a_part_that_reads_what_a_task_does_not_give_is_refused(task, lacking, name):
    if name not in lacking:
        assert list(build_supervision(parts(name), task, TEACHER)) == [name]
        return
    kind = PARTS[name]['type'].removeprefix('lfi.')
    message = (
        f"supervision.{name}.type={kind} reads the image's {lacking[name]}, which the task does not give: "
        f'set supervision.{name}=None'
    )
    refused(parts(name), message, task=task)


def test_parts_are_in_the_order_of_their_names():
    named = dict(b=PARTS['prior'], c=None, a=PARTS['logit_kd'])
    assert list(build_supervision(named, Classification, TEACHER)) == ['a', 'b']
