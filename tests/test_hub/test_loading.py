"""Folders that are no student's are refused in a line, and nothing of them is run."""

import functools
import hashlib
import json
import pickle
import shutil
from importlib import import_module
from pathlib import Path

import lfi
import numpy as np
import pytest
import torch
from lfi.apis import InteractionInferencer
from lfi.engine.config_loading import load_config
from lfi.models.teachers.loading.weights import BUILT_IN
from lfi.utils.repositories import HubError
from safetensors.torch import load_file, save


@pytest.fixture
def folder(saved_student, tmp_path):
    """A student's folder."""
    return Path(shutil.copytree(saved_student, tmp_path / 'student'))


@pytest.fixture
def change(folder):
    """`change('model.head.type', 'X')` sets a field of the folder's config."""

    def change(key, value):
        config = json.loads((folder / 'config.json').read_text())
        part, *keys = config, *key.split('.')
        for name in keys[:-1]:
            part = part[name]
        part[keys[-1]] = value
        (folder / 'config.json').write_text(json.dumps(config))

    return change


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('model.head.type', 'subprocess.Popen'),
        ('model.head.type', 'mmengine.Config.fromfile'),
        ('model.head.type', 'lfi.models.backbones.InteractionQueryViT'),
        ('model.head.type', 'pdb.Pdb'),
        ('model.head.type', ['LinearClsHead']),
        ('model.backbone.init_cfg', {'type': 'Pretrained', 'checkpoint': 'x'}),
        ('model.backbone.norm', {'type': 'nms if print(1) else nms'}),
        ('model.backbone.task', 'subprocess.Popen'),
        ('model.head.loss.class_weight', 'http://example.com/weights.pkl'),
        ('model.head.loss.class_weight', '/tmp/weights.pkl'),
        ('model.data_preprocessor._scope_', 'antigravity'),
        ('default_scope', 'antigravity'),
        ('pipeline', [{'type': 'torchvision/ConvertImageDtype', 'dtype': 'float32'}]),
        ('pipeline', [{'type': 'PackInputs', 'meta_keys': ['__import__("os").system("x")']}]),
        ('model.teacher.type', 'subprocess.Popen'),
        ('model.teacher.extractor', {'type': 'subprocess.Popen'}),
        ('model.teacher.model', 'mmpretrain:student/evil.py'),
        ('model.teacher.model', '../other'),
        ('model.teacher.pretrained', '/tmp/weights.pt'),
        ('model.teacher.weights_file', 'weights.pt'),
        ('model.teacher.concepts', {'type': 'lfi.DomainFolders', 'data_root': '/'}),
        ('model.teacher.concepts', {'__tuple__': ['a', 1]}),
        # Pairs make a dict too.
        ('model.teacher', [['type', 'lfi.VLMAttentionTeacher'], ['model', 'mmpretrain:/tmp/evil.py']]),
        ('model.teacher', 'evil'),
        ('model.teacher.presence', '/tmp/evil.py'),
        ('model.teacher.model', ['ViT-B-16']),
        ('model.teacher.cache', 'maps'),
        ('model.predict_by', [['concepts', ['a']]]),
        (
            'model.predict_by',
            {'type': 'lfi.ByTexts', 'concepts': {'type': 'lfi.DomainFolders', 'data_root': '/'}},
        ),
        (
            'model.predict_by',
            {'type': 'lfi.ByMixture', 'second': {'type': 'lfi.ByTexts', 'cache': 'maps'}},
        ),
        ('model.predict_by', {'type': 'lfi.ByMixture', 'second': 'evil'}),
        ('model.teacher.second', {'type': 'lfi.ByTexts'}),
        ('model.supervision.prior', {'type': 'subprocess.Popen'}),
        ('model.task', 'subprocess.Popen'),
        ('model.task', 'mmdet.LAD'),
        ('model.head', {'type': 'LinearClsHead', 'trust_remote_code': True}),
        ('model.type', 'mmpretrain.HuggingFaceClassifier'),
        ('model.head.settings', 'teacher-settings.py'),
        ('model.head.answer_list_path', 'answers.pkl'),
        ('model.backbone.pretrained', 'weights.PTH'),
        ('model.head.colour', 'red'),
    ],
)
def test_what_could_run_or_read_is_refused(folder, change, key, value, monkeypatch):
    change(key, value)
    # The registry of mmdet reads files of packages at its first import.
    import_module('mmdet.datasets')
    monkeypatch.setattr('subprocess.Popen.__init__', lambda *_, **__: pytest.fail('it was run'))
    monkeypatch.setattr('builtins.open', lambda name, *_, **__: pytest.fail(f'{name} was read'))
    with pytest.raises(HubError, match='was refused, and nothing of it was run'):
        lfi.from_pretrained(folder)


def test_texts_of_the_teacher_are_free(folder, change):
    change('model.teacher.concepts', ['crane (bird)', 'os.path', 'http://x'])
    assert lfi.from_pretrained(folder).cfg.model.teacher.concepts[0] == 'crane (bird)'


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('format', 2, 'has the format 2, of lfi'),
        ('library_name', 'timm', 'is of another program'),
        ('pipeline', 'x', "pipeline cannot be 'x'"),
        ('further', 1, 'its fields must be'),
        ('model.head.in_channels', 8, 'does not fit config.json'),
        ('model.head.colour', 3, 'cannot be built by lfi'),
        ('sha256', '0', 'was changed'),
        (
            'model.head.deep',
            functools.reduce(lambda inner, _: {'a': inner}, range(600), 1),
            'is nested too deep',
        ),
    ],
)
def test_a_config_that_does_not_fit_is_refused(folder, change, key, value, message):
    change(key, value)
    with pytest.raises(HubError, match=message):
        lfi.from_pretrained(folder)


def test_what_a_config_says_of_itself_is_shown_in_a_line(folder, change):
    change('lfi_version', '0.3\x1b[2J\n' + 1000 * 'x')
    for key, value in (('model.head.colour', 3), ('format', 2)):
        change(key, value)
        with pytest.raises(HubError) as refused:
            lfi.from_pretrained(folder)
        assert str(refused.value).isprintable()
        assert len(str(refused.value)) < 500
    change('lfi_version', 3)
    change('format', 1)
    with pytest.raises(HubError, match='lfi_version cannot be 3'):
        lfi.from_pretrained(folder)


@pytest.mark.parametrize('key', ['sha256', 'model.\x1b[2J\n', 'model.head.\x1b[2J\n'])
def test_what_a_config_names_reaches_no_terminal_as_it_is(folder, change, key):
    change(key, '\x1b[2J\n' + 10_000 * 'x' if key == 'sha256' else 3)
    with pytest.raises(HubError, match=r'\\x1b\[2J') as refused:
        lfi.from_pretrained(folder)
    assert str(refused.value).isprintable() and len(str(refused.value)) < 5000


def test_files_that_are_missing_or_torn_are_named(folder):
    weights, config = folder / 'model.safetensors', folder / 'config.json'
    content = weights.read_bytes()
    for torn in (content[:-1], b'', content[:100] + bytes([content[100] ^ 1]) + content[101:]):
        weights.write_bytes(torn)
        with pytest.raises(HubError, match=r'model.safetensors is truncated, or was changed'):
            lfi.from_pretrained(folder)
    weights.unlink()
    with pytest.raises(HubError, match=r'has no model.safetensors'):
        lfi.from_pretrained(folder)
    for torn in (config.read_text()[:-9], '[' * 10**5, '[]', '\x00'):
        config.write_text(torn)
        with pytest.raises(HubError, match='is corrupted'):
            lfi.from_pretrained(folder)


MODELS_OF = (lfi.from_pretrained, InteractionInferencer)
POSITIONS = 'backbone.pos_embed'


@pytest.fixture
def rewrite(folder, change):
    """`rewrite(edit)`: the folder's weights as a function of their dict leaves them, with their digest."""

    def rewrite(edit):
        state = load_file(folder / 'model.safetensors')
        edit(state)
        content = save(state, metadata={'format': 'pt'})
        (folder / 'model.safetensors').write_bytes(content)
        change('sha256', hashlib.sha256(content).hexdigest())

    return rewrite


@pytest.mark.parametrize('read', MODELS_OF)
@pytest.mark.parametrize('name', ['backbone.further', 'module.head.layers.head.bias'])
def test_weights_that_the_model_lacks_are_refused(folder, rewrite, read, name):
    rewrite(lambda state: state.update({name: torch.ones(20)}))
    with pytest.raises(ValueError, match=f'student.*{name}'):
        read(folder)


@pytest.mark.parametrize('read', MODELS_OF)
def test_a_config_of_fewer_layers_than_the_weights_is_refused(folder, change, read):
    change('model.backbone.arch.num_layers', 1)
    with pytest.raises(ValueError, match=r'student.*backbone\.layers\.1\.'):
        read(folder)


@pytest.mark.parametrize('read', MODELS_OF)
@pytest.mark.parametrize(
    ('edit', 'message'),
    [
        (lambda value: value * torch.nan, 'no finite numbers'),
        (lambda value: value.double() + 1e300, 'no finite numbers'),
        (lambda value: value.int(), 'values of torch.int32, and the model has torch.float32'),
        (lambda value: value > 0, 'values of torch.bool'),
        (lambda value: value.to(torch.complex64), 'values of torch.complex64'),
        (lambda value: value.flatten()[0], 'do(es)? not fit'),
    ],
)
def test_weights_that_are_no_weights_are_refused(folder, rewrite, read, edit, message):
    rewrite(lambda state: state.update({POSITIONS: edit(state[POSITIONS])}))
    with pytest.raises(ValueError, match=f'student.*{message}'):
        read(folder)


def test_weights_that_are_pickles_are_no_weights(folder, change):
    pickle = b'cos\nsystem\n(S"false"\ntR.'
    (folder / 'model.safetensors').write_bytes(pickle)
    change('sha256', hashlib.sha256(pickle).hexdigest())
    with pytest.raises(HubError, match='is not a file of safetensors'):
        lfi.from_pretrained(folder)


def test_code_is_not_read_in_place_of_a_config(folder):
    (folder / 'config.json').rename(folder / 'config.py')
    with pytest.raises(HubError, match=r'config.py can hold code, which is not run: give a folder of lfi'):
        lfi.from_pretrained(folder)


READERS = (lfi.from_pretrained, lambda folder: load_config(str(folder)), InteractionInferencer)


@pytest.mark.parametrize('read', READERS)
@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('model.backbone.arch.num_layers', 10**5, 'more than [0-9,]+ modules and parameters'),
        ('model.backbone.arch.embed_dims', 10**5, 'tensors of more than [0-9,]+ bytes'),
        ('model.backbone.img_size', 10**5, 'is beyond 8,192'),
        ('model.head.num_classes', 10**12, 'is beyond 131,072'),
    ],
)
def test_a_model_larger_than_its_weights_is_refused_before_there_is_memory_for_it(
    folder, change, read, key, value, message
):
    state = load_file(folder / 'model.safetensors')
    content = save({'head.layers.head.bias': state['head.layers.head.bias']})
    (folder / 'model.safetensors').write_bytes(content)
    change('sha256', hashlib.sha256(content).hexdigest())
    change(key, value)
    with pytest.raises(HubError, match=message):
        read(folder)


@pytest.mark.parametrize('read', READERS)
def test_files_beside_a_cloned_folder_are_not_read(folder, change, read, monkeypatch):
    monkeypatch.chdir(folder)
    for name in ('weights', 'mean', 'pkl'):
        Path(name).write_bytes(pickle.dumps(Unpickled()))
    assert read('.')
    for value in (
        {'type': 'VQAGenerationHead', 'answer_list_path': 'pkl'},
        {'type': 'LinearClsHead', 'num_classes': 2, 'in_channels': 16, 'pretrained': 'mean'},
        {'type': 'LinearClsHead', 'loss': {'type': 'CrossEntropyLoss', 'class_weight': 'weights'}},
    ):
        change('model.head', value)
        with pytest.raises(HubError, match='was refused, and nothing of it was run'):
            read('.')


@pytest.mark.parametrize(
    'value',
    [
        'local-dir:lit',
        'local-dir:a:b',
        'transformers:stud2/m:z',
        'transformers:../lit',
        'transformers:a/b/c',
        'hf-hub:a/b',
        './lit',
        '..',
        '.',
        'mmpretrain:x.py',
    ],
)
def test_a_teacher_is_named_and_no_place(folder, change, value):
    change('model.teacher.model', value)
    with pytest.raises(HubError, match=r'model\.teacher\.model=.* was refused'):
        lfi.from_pretrained(folder)


def test_a_student_loads_beside_the_teacher_that_it_was_trained_with(folder, change, tmp_path, monkeypatch):
    change('model.teacher.model', 'mine')
    monkeypatch.chdir(tmp_path)
    shutil.copytree(BUILT_IN / 'shapes-tiny', 'mine')
    lfi.from_pretrained(folder)
    config = load_config(str(folder), {'model.teacher.model': './mine'})
    answers = InteractionInferencer(config, folder)(np.zeros((64, 64, 3), np.uint8), texts=['red circle'])
    assert answers['predictions']


@pytest.mark.parametrize('name', ['lit', 'transformers:me/lit'])
def test_a_teacher_of_the_working_directory_is_not_taken(folder, change, monkeypatch, name):
    pytest.importorskip('transformers')
    change('model.teacher.model', name)
    planted = folder / name.rpartition(':')[2]
    shutil.copytree(BUILT_IN / 'shapes-tiny', planted)
    monkeypatch.chdir(folder)
    inferencer = InteractionInferencer(folder)
    with pytest.raises(RuntimeError, match=r'\./'):
        inferencer(np.zeros((64, 64, 3), np.uint8), texts=['barn'])


@pytest.mark.parametrize(
    'meta',
    [
        dict(classes=5),
        dict(classes='ring'),
        dict(classes=['ring', 5]),
        dict(classes=['ring'], palette=[[1, 2]]),
        dict(classes=['ring'], names=['ring']),
        functools.reduce(lambda inner, _: [inner], range(900), []),
    ],
)
def test_a_data_set_has_names_of_classes(folder, change, meta):
    change('dataset_meta', meta if isinstance(meta, dict) else dict(classes=meta))
    with pytest.raises(HubError, match=r'dataset_meta=.* must have classes|nested too deep'):
        lfi.from_pretrained(folder)


@pytest.mark.parametrize('name', ['x' * 200_000, 'ring\x1b[2J', 'ring\ud800'])
def test_names_of_classes_are_plain_texts(folder, change, name):
    change('dataset_meta', dict(classes=['disc', name]))
    with pytest.raises(HubError, match=r'dataset_meta\.classes has the name .*: rename it') as caught:
        lfi.from_pretrained(folder)
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


@pytest.mark.parametrize('read', READERS)
def test_as_many_classes_are_named_as_the_head_has(folder, change, read):
    change('dataset_meta', dict(classes=['ring', 'star']))
    with pytest.raises(HubError, match=r'dataset_meta\.classes has 2 names, and the head 20 classes'):
        read(folder)


@pytest.mark.parametrize('name', ['config.json', 'model.safetensors'])
def test_a_link_to_a_file_without_size_is_not_read(folder, name):
    (folder / name).unlink()
    (folder / name).symlink_to('/proc/self/status')
    with pytest.raises(HubError, match=f'{name} is (corrupted|truncated)'):
        lfi.from_pretrained(folder)


def test_a_config_that_is_too_long_is_not_read(folder):
    (folder / 'config.json').write_text(' ' * 2**25)
    with pytest.raises(HubError, match='has 33,554,432 bytes, and no config has more'):
        lfi.from_pretrained(folder)


class Unpickled:
    def __reduce__(self):
        return pytest.fail, ('it was unpickled',)


def test_a_zero_shot_student_loads_without_its_teacher(small_student, small_config, tmp_path):
    teacher = shutil.copytree(BUILT_IN / 'shapes-tiny', tmp_path / 'mine')
    cfg = small_config()
    cfg.model.teacher.model = str(teacher)
    cfg.model.update(head=None, predict_by=dict(type='lfi.ByTexts', concepts=['red ring', 'blue star']))
    model, cfg = small_student(cfg)
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        expected = model(images)
    folder = lfi.save_pretrained(model, tmp_path / 'student', config=cfg)
    shutil.rmtree(teacher)
    with torch.no_grad():
        torch.testing.assert_close(lfi.from_pretrained(folder)(images), expected)


def test_a_student_that_mixes_head_and_texts_predicts_the_same_from_its_folder(
    small_student, small_config, tmp_path
):
    cfg = small_config()
    cfg.model.predict_by = dict(type='lfi.ByMixture', second=dict(type='lfi.ByTexts'), weight=0.2)
    model, cfg = small_student(cfg)
    images = torch.rand(2, 3, 64, 64)
    folder = lfi.save_pretrained(model, tmp_path / 'student', config=cfg)
    with torch.no_grad():
        torch.testing.assert_close(lfi.from_pretrained(folder)(images), model(images))
