"""What a config of someone else may hold, before any of it is built."""

import shutil
import sys
import tracemalloc
from pathlib import Path
from types import ModuleType

import pytest
from lfi.registry import MODELS, TEACHERS
from lfi.student_folder import allowed_types
from lfi.student_folder.allowed_types import AllowedTypes, is_known
from lfi.student_folder.config_sanitizer import MAX_IMAGE_SIDE, check_config
from lfi.utils.repositories import HubError
from torch import nn

VIT = dict(type='VisionTransformer', arch='deit-tiny', img_size=32, patch_size=8, out_type='avg_featmap')


def classifier(**changes):
    return {
        'type': 'ImageClassifier',
        'backbone': VIT,
        'head': dict(
            type='LinearClsHead', num_classes=4, in_channels=192, loss=dict(type='CrossEntropyLoss')
        ),
        **changes,
    }


def test_what_students_are_made_of_is_allowed():
    norm = dict(type='LN', eps=1e-6, requires_grad=True)
    init = [dict(type='Kaiming', layer=['Conv2d', 'Linear'], mode='fan_in', nonlinearity='linear')]
    check_config(
        classifier(backbone={**VIT, 'norm_cfg': norm, 'pretrained': None}, init_cfg=init),
        'mmpretrain',
        'model',
    )
    mixer = dict(type='mmpretrain.ConvMixer', arch='768/32', patch_size=7)
    check_config(classifier(backbone=mixer), 'mmpretrain', 'model')
    repmlp = dict(type='RepMLPNet', arch='B', img_size=256, reparam_conv_kernels=(1, 3))
    check_config(classifier(backbone=repmlp), 'mmpretrain', 'model')
    timm = dict(type='TIMMBackbone', model_name='regnety_002', features_only=True, pretrained=False)
    check_config(classifier(backbone=timm), 'mmpretrain', 'model')


def test_a_students_task_is_a_type():
    student = classifier(type='lfi.Student', task='mmpretrain.ImageClassifier')
    # Its words are known, as those of a model of this type are.
    check_config({**student, 'test_cfg': dict(stage='pre_logits')}, 'mmpretrain', 'model')
    check_config(dict(type='lfi.Student', task='mmdet.RTMDet'), 'mmpretrain', 'model')
    check_config(dict(type='lfi.Student', task=None), 'mmpretrain', 'model')
    for task in ('mmdet.Detectron2Wrapper', 'subprocess.Popen', 'whole'):
        with pytest.raises(HubError, match=r'model\.task.* was refused|subprocess'):
            check_config(classifier(type='lfi.Student', task=task), 'mmpretrain', 'model')


@pytest.mark.parametrize(
    'part',
    [
        # They read what a text names.
        dict(type='VQAGenerationHead', answer_list_path='pkl'),
        dict(type='MiniGPT4', vision_encoder=dict(type='BEiTViT', pretrained='weights')),
        dict(type='RAMNormal'),
        dict(type='mmpretrain.RAMOpenset'),
        dict(type='CLIPGenerator', tokenizer_path='weights'),
        dict(type='mmdet.LAD', teacher_config='a', teacher_ckpt='b'),
        dict(type='mmdet.Detectron2Wrapper', detector={}),
        dict(type='mmpretrain.AutoModelForCausalLM', name_or_path='a'),
        dict(type='OPTForCausalLM', name_or_path='a'),
        # Whatever their arguments are called.
        dict(type='LinearClsHead', checkpoint_path='mean'),
        dict(type='LinearClsHead', weights_file='mean'),
        dict(type='LinearClsHead', ann_file='mean'),
        dict(type='LinearClsHead', vocab='mean'),
        dict(type='LinearClsHead', pretrained=True),
        dict(type='LinearClsHead', pretrained=dict(file='mean')),
        dict(type='LinearClsHead', tokenizer=dict(type='Linear')),
        dict(type='LinearClsHead', pretrained=['mean', 'sum']),
        dict(type='LinearClsHead', init_cfg=[dict(type='Normal', checkpoint='mean')]),
        dict(type='LinearClsHead', init_cfg=dict(type='Pretrained', checkpoint='mean')),
        dict(type='LinearClsHead', init_cfg=dict(type='PretrainedInit', checkpoint='mean')),
        # No words of these types.
        dict(type='LinearClsHead', loss='weights'),
        dict(type='LinearClsHead', loss=['pkl']),
        dict(type='LinearClsHead', act={'name': 'subprocess.Popen'}),
        dict(type='mmpretrain.TIMMBackbone', model_name='hf-hub:someone/model'),
        dict(type='mmpretrain.TIMMBackbone', model_name='local-dir'),
        # No types.
        dict(type='subprocess.Popen'),
        dict(type='mmpretrain.models.heads.LinearClsHead'),
        dict(type='mmdet.models.backbones.resnet.ResNet'),
        dict(type='builtins.exec'),
        dict(type='torchvision/Lambda', lambd='print'),
        dict(type=dict(type='LinearClsHead')),
        dict(type=['LinearClsHead']),
        dict(type='Albu', transforms=[dict(type='FDA')]),
        dict(type=''),
        dict(type=None),
    ],
)
def test_what_could_read_or_run_is_refused(part):
    for nested in (part, [part], (part,), {'a': [{'b': part}]}, {**part, '_delete_': True}):
        with pytest.raises(HubError, match=r'model.* was refused, and nothing of it was run'):
            check_config(classifier(head=nested), 'mmpretrain', 'model')


@pytest.mark.parametrize(
    'step',
    [
        dict(type='LoadImageFromFile', backend_args=dict(backend='http')),
        dict(type='LoadImageFromFile', file_client_args=dict(backend='disk')),
        dict(type='LoadImageFromFile', backend_args='local'),
        dict(type='LoadImageFromFile', imdecode_backend='evil'),
        dict(type='LoadProposals'),
        dict(type='mmdet.InstaBoost'),
        dict(type='lfi.LoadInteractionMaps', cache='x'),
        dict(type='Resize', scale=(10**6, 10**6)),
        dict(type='torchvision/Resize', size=3),
    ],
)
def test_steps_that_need_more_than_the_image_are_refused(step):
    with pytest.raises(HubError, match='was refused'):
        check_config([step, dict(type='PackInputs')], 'mmpretrain', 'pipeline', MAX_IMAGE_SIDE)


def test_steps_of_a_test_are_allowed():
    steps = [
        dict(type='LoadImageFromFile', imdecode_backend='pillow', backend_args=None),
        dict(type='ResizeEdge', scale=256, edge='short', backend='pillow', interpolation='bicubic'),
        dict(type='CenterCrop', crop_size=224),
        dict(type='PackInputs', meta_keys=('img_path', 'ori_shape', 'my_own')),
    ]
    check_config(steps, 'mmpretrain', 'pipeline', MAX_IMAGE_SIDE)


@pytest.mark.parametrize('number', [2**17 + 1, -(10**12), 10**400])
def test_numbers_beyond_those_of_models_are_refused(number):
    with pytest.raises(HubError, match=r'model\.head\.num_classes=.* is beyond 131,072'):
        check_config(classifier(head=dict(type='LinearClsHead', num_classes=number)), 'mmpretrain', 'model')


@pytest.mark.parametrize('number', [1e9, float('inf'), float('nan')])
def test_numbers_that_are_not_whole_have_bounds(number):
    check_config(classifier(head=dict(type='LinearClsHead', cal_acc=1e8)), 'mmpretrain', 'model')
    with pytest.raises(HubError, match=r'model\.head\.cal_acc=.* is beyond 100,000,000'):
        check_config(classifier(head=dict(type='LinearClsHead', cal_acc=number)), 'mmpretrain', 'model')


def test_a_config_of_too_many_values_is_not_read():
    with pytest.raises(HubError, match='model has more than 131,072 values'):
        check_config(classifier(neck=[[0] * 2000] * 100), 'mmpretrain', 'model')


def test_long_names_take_no_memory():
    tracemalloc.start()
    with pytest.raises(HubError, match='model has an argument named .* at most 200 characters') as error:
        check_config(classifier(**{'x' * 10**5: [0] * 10**4}), 'mmpretrain', 'model')
    assert tracemalloc.get_traced_memory()[1] < 2**24 and len(str(error.value)) < 500
    tracemalloc.stop()


@pytest.mark.parametrize(
    ('step', 'largest'),
    [
        (dict(type='Resize', scale_factor=300.0), '32'),
        (dict(type='Resize', scale_factor=float('nan')), '32'),
        (dict(type='Resize', scale=[60000.0, 64]), '8,192'),
        (dict(type='Pad', size_divisor=8192), '1,024'),
    ],
)
def test_images_that_would_fill_the_memory_are_refused(step, largest):
    with pytest.raises(HubError, match=f'is beyond {largest},'):
        check_config([step], 'mmpretrain', 'pipeline', MAX_IMAGE_SIDE)


@pytest.mark.parametrize(
    'changes', [dict(pad_size_divisor=131072), dict(pad_value=1e9), dict(std=[float('inf')])]
)
def test_numbers_of_a_data_preprocessor_are_those_of_images(changes):
    part = classifier(data_preprocessor=dict(type='ImgDataPreprocessor', **changes))
    with pytest.raises(HubError, match=r'data_preprocessor\..* is beyond'):
        check_config(part, 'mmpretrain', 'model')
    # Of ImageNet-21k.
    part = classifier(data_preprocessor=dict(type='ClsDataPreprocessor', num_classes=21841))
    check_config(part, 'mmpretrain', 'model')


@pytest.mark.parametrize('std', [[0, 1, 1], [1.0, -1.0, 1.0]])
def test_pixels_are_divided_by_a_number_above_0(std):
    part = classifier(data_preprocessor=dict(type='ClsDataPreprocessor', std=std))
    with pytest.raises(HubError, match=r'data_preprocessor\.std\[.\]=.*must be above 0'):
        check_config(part, 'mmpretrain', 'model')
    step = dict(type='Normalize', mean=[0, 0, 0], std=std)
    with pytest.raises(HubError, match=r'std\[.\]=.*must be above 0'):
        check_config([step], 'mmpretrain', 'pipeline', MAX_IMAGE_SIDE)


@pytest.mark.parametrize('scope', ['antigravity', 'mmpretrain.utils', '', ['mmdet'], None])
def test_a_scope_inside_a_config_is_a_package_that_is_known(scope):
    with pytest.raises(HubError, match='was refused.*names an unknown package'):
        check_config(classifier(_scope_=scope), 'mmpretrain', 'model')


def test_a_package_in_the_working_directory_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / 'stranger').mkdir()
    (tmp_path / 'stranger/__init__.py').write_text('')
    (tmp_path / 'stranger/registry.py').write_text('raise SystemExit("it was run")')
    monkeypatch.setattr(allowed_types, 'SCOPES', (*allowed_types.SCOPES, 'stranger'))
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'link').symlink_to(tmp_path)
    for place in ('', '.', str(tmp_path / 'link'), 'link'):
        monkeypatch.syspath_prepend(place)
    assert not is_known('stranger')
    shutil.rmtree('stranger')
    Path('stranger.py').write_text('raise SystemExit("it was run")')
    assert not is_known('stranger')
    # From elsewhere the folder is a student's.
    Path('model.safetensors').touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir('/')
    assert not is_known('stranger')
    with pytest.raises(HubError, match="'stranger' was refused.*import it first"):
        check_config(classifier(head=dict(type='stranger.FCNHead')), 'mmpretrain', 'model')


def test_what_a_package_looks_for_is_not_taken_from_the_working_directory(tmp_path, monkeypatch):
    Path('optional_thing.py').write_text('raise SystemExit("it was run")')
    (tmp_path / 'apart').mkdir()
    (tmp_path / 'apart/mmseg').mkdir()
    (tmp_path / 'apart/mmseg/__init__.py').write_text('')
    (tmp_path / 'apart/mmseg/registry.py').write_text('try: import optional_thing\nexcept ImportError: pass')
    for name in [name for name in sys.modules if name.partition('.')[0] == 'mmseg']:
        monkeypatch.delitem(sys.modules, name)
    for place in (str(tmp_path / 'apart'), str(tmp_path), ''):
        monkeypatch.syspath_prepend(place)
    before = list(sys.path)
    try:
        assert 'FCNHead' not in AllowedTypes({'mmseg'})
    finally:
        for name in ('mmseg', 'mmseg.registry'):
            sys.modules.pop(name, None)
    assert 'optional_thing' not in sys.modules
    assert sys.path == before


def test_a_type_whose_package_is_missing_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.partition('.')[0] == 'mmseg']:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'mmseg', None)
    with pytest.raises(HubError, match=r"'mmseg' was refused.*not installed"):
        check_config(dict(type='lfi.Student', task='mmseg.EncoderDecoder'), 'lfi', 'model')


def test_the_task_of_a_student_is_a_type():
    for task in ('mmdet.MaskRCNN', None):
        check_config(dict(type='lfi.Student', task=task), 'mmpretrain', 'model')
    for task in ('mmdet.models.detectors.MaskRCNN', 'mmdet.LAD', ['mmdet.MaskRCNN'], '', 'subprocess.Popen'):
        with pytest.raises(
            HubError, match=r'was refused, .* (is not a type for students|names an unknown package)'
        ):
            check_config(dict(type='lfi.Student', task=task), 'mmdet', 'model')


def test_the_words_of_a_students_task_are_known():
    pytest.importorskip('mmseg', reason='mmsegmentation is not installed')
    segmentor = dict(type='Student', task='mmseg.EncoderDecoder', test_cfg=dict(mode='slide'))
    check_config(segmentor, 'lfi', 'model')


TEACHER = dict(
    type='lfi.VLMAttentionTeacher',
    model='ViT-B-16',
    pretrained='openai',
    extractor=dict(type='gem', depth=4),
    concepts=['a cat', 'x' * 1000],
    background=['sky'],
    templates=['a photo of a {}.'],
    max_concepts=8,
    input_size=224,
    weights_file=None,
    allow_random=False,
)


def student(**teacher):
    return dict(type='Student', task='mmpretrain.ImageClassifier', teacher={**TEACHER, **teacher})


def test_a_teacher_is_allowed_that_reads_nothing_of_this_machine():
    for changes in (
        {},
        dict(templates='openai'),
        dict(templates=['{}'] * 80),
        dict(model='transformers:a/b'),
    ):
        check_config(student(**changes), 'lfi', 'model')


@pytest.mark.parametrize(
    'changes',
    [
        dict(allow_random=True),
        dict(weights_file='weights'),
        dict(cache='maps'),
        dict(weights_file=dict(path='weights')),
        dict(evil=1),
        dict(model='x' * 300),
        dict(model=dict(type='DualEncoder')),
        dict(pretrained='x' * 300),
        dict(concepts=['x' * 1001]),
        dict(concepts=['a\x1b[2J']),
        dict(concepts=['\ud800']),
        dict(concepts='cat'),
        dict(background=['x' * 1001]),
        dict(templates=['{}' * 11]),
        dict(templates=['{}'] * 201),
        dict(templates=3),
        dict(extractor=dict(type='generative', question='x' * 1001)),
    ],
)
def test_a_teacher_that_reads_or_builds_more_is_refused(changes):
    with pytest.raises(HubError, match=r'^model\.teacher\.\w+.* was refused') as error:
        check_config(student(**changes), 'lfi', 'model')
    assert len(str(error.value)) < 600


def test_a_teacher_of_the_users_own_gets_arguments_of_its_own(monkeypatch):
    module = ModuleType('my_project.teachers')
    kind = type('MyTeacher', (), {'__module__': module.__name__})
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(TEACHERS._module_dict, 'MyTeacher', kind)
    check_config(student(type='lfi.MyTeacher', rounds=3), 'lfi', 'model')
    with pytest.raises(HubError, match=r'teacher\.allow_random=True was refused'):
        check_config(student(type='lfi.MyTeacher', allow_random=True), 'lfi', 'model')


@pytest.fixture
def own_type(monkeypatch):
    """A head of a package of the user's."""
    module = ModuleType('my_project.heads')
    kind = type('MyHead', (nn.Module,), {'__module__': module.__name__, '__init__': lambda self, **_: None})
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(MODELS._module_dict, 'MyHead', kind)
    return 'lfi.MyHead'


def test_a_type_of_the_users_own_gets_names_of_any_kind_and_no_files(own_type):
    check_config(classifier(head=dict(type=own_type, kind='fast', weights=dict(a=1))), 'mmpretrain', 'model')
    for arguments in (dict(kind='/tmp/x'), dict(kind='x.pkl'), dict(path='x')):
        with pytest.raises(HubError, match='was refused'):
            check_config(classifier(head=dict(type=own_type, **arguments)), 'mmpretrain', 'model')
    # Those of the types around it stay as narrow as they are.
    with pytest.raises(HubError, match=r"model\.neck\.kind='fast' was refused"):
        check_config(
            classifier(head=dict(type=own_type), neck=dict(type='GlobalAveragePooling', kind='fast')),
            'mmpretrain',
            'model',
        )


def test_a_name_that_means_something_else_in_another_package_is_not_allowed():
    # mmpretrain's own MAE pretrains.
    assert 'MAE' not in AllowedTypes({'mmpretrain', 'mmengine'})
    assert 'ImageClassifier' in AllowedTypes({'mmpretrain', 'mmengine'})
    assert 'mmdet.ImageClassifier' not in AllowedTypes({'mmpretrain', 'mmdet'})


@pytest.fixture(autouse=True)
def nothing_is_left_behind(tmp_path, monkeypatch):
    """A working directory, where files lie that must not be opened."""
    monkeypatch.chdir(tmp_path)
    for name in ('pkl', 'weights', 'mean'):
        Path(name).write_bytes(b'cos\nsystem\n(S"false"\ntR.')
