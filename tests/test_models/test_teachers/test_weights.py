"""`load_vlm`: what it loads, and that each way to fail says what is wrong."""

import copy
import json
import shutil

import open_clip
import pytest
import torch
from lfi.models.teachers.weights import load_vlm
from safetensors.torch import load_file, save_file


@pytest.fixture
def folder(teacher_folder, tmp_path):
    """A copy of a teacher's folder, to spoil."""
    path = tmp_path / 'teacher'
    shutil.copytree(teacher_folder('vit'), path)
    return path


@pytest.fixture
def named_model(teacher_folder, tmp_path, monkeypatch):
    """A tiny model that open_clip knows by name, and its weights file."""
    for table in ('_MODEL_CONFIG_PATHS', '_MODEL_CONFIGS'):
        monkeypatch.setattr(open_clip.factory, table, copy.copy(getattr(open_clip.factory, table)))
    source = teacher_folder('vit')
    with open(f'{source}/open_clip_config.json') as file:
        config = json.load(file)['model_cfg']
    (tmp_path / 'lfi-test-vit.json').write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / 'lfi-test-vit.json')
    return 'lfi-test-vit', f'{source}/model.safetensors'


def assert_loaded(vlm, weights):
    expected = load_file(weights)
    assert all(torch.equal(value, expected[name]) for name, value in vlm.state_dict().items())
    assert not any(module.training for module in vlm.modules())
    assert not any(parameter.requires_grad for parameter in vlm.parameters())


@pytest.mark.parametrize('prefix', ['', 'local-dir:'])
def test_a_folder_is_loaded_frozen_with_its_tokenizer(folder, prefix):
    vlm, tokenizer = load_vlm(f'{prefix}{folder}', None, allow_random=False)
    assert_loaded(vlm, folder / 'model.safetensors')
    assert tokenizer(['a cat', 'two']).shape == (2, 16)


def test_a_named_model_is_loaded_from_a_file(named_model):
    name, weights = named_model
    vlm, _ = load_vlm(name, weights, allow_random=False)
    assert_loaded(vlm, weights)


def test_random_weights_need_to_be_asked_for(named_model):
    name, _ = named_model
    with pytest.raises(
        ValueError, match=f'pretrained=None: the teacher {name} would have random weights.*allow'
    ):
        load_vlm(name, None, allow_random=False)
    vlm, _ = load_vlm(name, None, allow_random=True)
    assert not any(parameter.requires_grad for parameter in vlm.parameters())


def test_weights_next_to_a_folder_are_refused(folder):
    with pytest.raises(
        ValueError, match=r"pretrained='openai' must be None: the folder .* holds its weights"
    ):
        load_vlm(str(folder), 'openai', allow_random=False)


def test_a_missing_folder_names_it_and_the_variable_that_moves_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'teacher folder not found: .*gone\. .*LFI_TEACHER_ROOT'):
        load_vlm(str(tmp_path / 'gone'), None, allow_random=True)


@pytest.mark.parametrize(
    ('name', 'message'),
    [('open_clip_config.json', 'has no open_clip_config.json'), ('model.safetensors', 'has no weights')],
)
def test_a_folder_that_lacks_a_file_says_which(folder, name, message):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=f'teacher folder .*{message}'):
        load_vlm(str(folder), None, allow_random=True)


@pytest.mark.parametrize('text', ['{"model_cfg": {', '{"vision_cfg": {}}'])
def test_a_config_that_cannot_be_read_names_the_folder(folder, text):
    (folder / 'open_clip_config.json').write_text(text)
    with pytest.raises(ValueError, match=f'Could not load valid config .*{folder.name}'):
        load_vlm(str(folder), None, allow_random=False)


def reshape(weights):
    return {**weights, 'visual.proj': weights['visual.proj'][:, 1:].contiguous()}


def drop(weights):
    return {name: value for name, value in weights.items() if name != 'visual.proj'}


@pytest.mark.parametrize('spoil', [reshape, drop])
@pytest.mark.parametrize(('suffix', 'save'), [('safetensors', save_file), ('pth', torch.save)])
def test_weights_that_do_not_fit_name_their_place(folder, spoil, suffix, save):
    weights = load_file(folder / 'model.safetensors')
    (folder / 'model.safetensors').unlink()
    save(spoil(weights), folder / f'model.{suffix}')
    with pytest.raises(ValueError, match=rf'the weights in .*{folder.name} do not fit[\s\S]*visual\.proj'):
        load_vlm(str(folder), None, allow_random=True)


@pytest.mark.parametrize('part', [0.5, 0])
@pytest.mark.parametrize(('suffix', 'save'), [('safetensors', save_file), ('pth', torch.save)])
def test_torn_weights_name_their_place(folder, part, suffix, save):
    path = folder / f'model.{suffix}'
    weights = load_file(folder / 'model.safetensors')
    (folder / 'model.safetensors').unlink()
    save(weights, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ValueError, match=f'the weights in .*{folder.name} do not fit .* or are torn'):
        load_vlm(str(folder), None, allow_random=True)


def test_a_pickle_of_foreign_objects_is_not_executed(named_model, tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path / 'sprung').touch, ()

    torch.save({'visual.proj': Trap()}, tmp_path / 'trap.pt')
    with pytest.raises(ValueError, match=r'the weights in .*trap\.pt do not fit'):
        load_vlm(named_model[0], str(tmp_path / 'trap.pt'), allow_random=True)
    assert not (tmp_path / 'sprung').exists()


@pytest.mark.parametrize(
    ('model', 'pretrained', 'error', 'message'),
    [
        ('ViT-B-99', None, ValueError, "model='ViT-B-99' is neither a folder nor a model of open_clip"),
        ('ViT-B16', 'openai', ValueError, 'near it are .*ViT-B-16.* with LFI come shapes-tiny'),
        ('ViT-B-32', 'best', ValueError, "pretrained='best' is neither a file nor a tag of .*laion2b"),
        ('ViT-B-32', 'gone.safetensors', FileNotFoundError, 'teacher weights not found: gone.safetensors'),
        ('ViT-B-32', 'some/where', FileNotFoundError, 'teacher weights not found: some/where'),
    ],
)
def test_an_unknown_model_tag_or_file_is_named(model, pretrained, error, message):
    with pytest.raises(error, match=message):
        load_vlm(model, pretrained, allow_random=True)


def test_a_tag_that_cannot_be_fetched_says_how_to_go_on_without_network(monkeypatch):
    def no_network(*args, **kwargs):
        raise OSError('no route to host')

    monkeypatch.setattr(open_clip.factory, 'download_pretrained', no_network)
    with pytest.raises(RuntimeError, match='could not be fetched: .*no route to host.*fetch them elsewhere'):
        load_vlm('ViT-B-32', 'laion2b_s34b_b79k', allow_random=False)


def test_weights_trained_with_another_activation_are_refused(monkeypatch):
    monkeypatch.setattr(open_clip.factory, 'download_pretrained', lambda *args, **kwargs: 'fetched.pt')
    with pytest.raises(ValueError, match="'openai' do not fit the model ViT-B-32: QuickGELU.*-quickgelu"):
        load_vlm('ViT-B-32', 'openai', allow_random=False)
