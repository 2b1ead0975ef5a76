"""Generative VLMs: what a folder must hold, and what is read from it."""

import json
import os
import pickle
import shutil
import socket
import sys
from functools import partial

import pytest
import torch
from lfi.models import VLMAttentionTeacher
from lfi.models.teachers import text_tower as text_tower_module
from lfi.models.teachers.loading.foreign_code import ForeignCodeError, no_foreign_code, only_files_of
from lfi.models.teachers.loading.weights import load_vlm
from lfi.models.teachers.text_tower import TextTower
from lfi.utils.process import OfflineError
from safetensors.torch import load_file, save_file

NAMES = ['cat', 'red bus', 'dog']


def load(folder, **options):
    return load_vlm(f'transformers:{folder}', None, **{'allow_random': False, **options})


@pytest.fixture
def folder(generative_folder, tmp_path):
    """A copy of a tiny LLaVA's folder."""
    return shutil.copytree(generative_folder('llava'), tmp_path / 'llava')


def test_its_weights_are_those_in_the_folder(folder):
    vlm, _ = load(folder)
    own = load_file(folder / 'model.safetensors')
    loaded = dict(vlm.visual.model.named_parameters())
    pair = own['language_model.model.norm.weight'], loaded['model.language_model.norm.weight']
    torch.testing.assert_close(*pair)
    assert not vlm.training and not any(parameter.requires_grad for parameter in vlm.parameters())


def test_half_precision_weights_stay_so(folder):
    half = {name: value.bfloat16() for name, value in load_file(folder / 'model.safetensors').items()}
    save_file(half, folder / 'model.safetensors', metadata=dict(format='pt'))
    config = (folder / 'config.json').read_text().replace('"float32"', '"bfloat16"')
    (folder / 'config.json').write_text(config)
    teacher = VLMAttentionTeacher(
        f'transformers:{folder}', extractor=dict(type='generative'), concepts=NAMES, templates=('{}',)
    )
    assert teacher.visual.model.dtype == torch.bfloat16
    images = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    maps, presence = teacher.extractor.maps_and_presence(images)
    assert maps.isfinite().all() and presence.isfinite().all()


@pytest.mark.parametrize(
    ('file', 'message'),
    [
        ('config.json', 'has no config: config.json'),
        ('preprocessor_config.json', 'has no preprocessing: preprocessor_config.json'),
        ('tokenizer.json', 'has no tokenizer: tokenizer.json or tokenizer.model or vocab.json'),
        ('model.safetensors', r'has no weights \(\*.safetensors or \*.bin\); random weights need allow_rand'),
    ],
)
def test_a_missing_file_is_named(folder, file, message):
    (folder / file).unlink()
    (folder / 'processor_config.json').unlink()
    with pytest.raises(FileNotFoundError, match=rf'teacher folder .*llava {message}'):
        load(folder)


def test_random_weights_must_be_allowed(folder):
    (folder / 'model.safetensors').unlink()
    vlm, _ = load(folder, allow_random=True)
    assert vlm.visual.preprocess_cfg['size'] == 32


def test_weights_that_lack_a_part_or_are_corrupted_are_refused(folder):
    weights = load_file(folder / 'model.safetensors')
    del weights['multi_modal_projector.linear_1.weight']
    save_file(weights, folder / 'model.safetensors', metadata=dict(format='pt'))
    with pytest.raises(ValueError, match=r'do not fit the model: they lack .*linear_1\.weight'):
        load(folder)
    (folder / 'model.safetensors').write_bytes(b'no tensors')
    with pytest.raises(ValueError, match='does not contain a valid model of transformers'):
        load(folder)


@pytest.mark.parametrize('name', ['llava', 'a/llava', 'llava+1.5', 'a.b/l-1+x_y'])
def test_a_folder_with_the_name_of_a_repository_is_not_read(folder, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / 'here' / name
    place.parent.mkdir(parents=True)
    folder.rename(place)
    monkeypatch.chdir(tmp_path / 'here')
    with pytest.raises(
        ValueError, match=r'is the name of a repository, but .* has a file or folder of this name: .*\./'
    ):
        load(name)
    load(f'./{name}')


def test_a_folder_that_is_not_there_is_no_name(tmp_path):
    pytest.importorskip('transformers')
    for model in (str(tmp_path / 'gone'), './gone', 'a/b/c'):
        with pytest.raises(FileNotFoundError, match='teacher folder not found: .*(gone|c)'):
            load(model)


def test_a_name_that_cannot_be_fetched_says_how_to_go_on(monkeypatch):
    pytest.importorskip('transformers')

    def unreachable(name, **options):
        raise OSError('no network')

    monkeypatch.setattr('huggingface_hub.snapshot_download', unreachable)
    with pytest.raises(
        RuntimeError,
        match=r"transformers:owner/name is not a folder, and .*no network.*'transformers:FOLDER'",
    ):
        load('owner/name')


@pytest.mark.parametrize('suffix', ['safetensors', 'bin'])
def test_a_repository_is_fetched_and_read_as_a_folder(folder, monkeypatch, suffix):
    fetched = []

    def fetch(name, allow_patterns, ignore_patterns):
        fetched.append((name, allow_patterns))
        if '*.bin' in allow_patterns:
            torch.save(load_file(folder.parent / 'model'), folder / 'pytorch_model.bin')
        return str(folder)

    monkeypatch.setattr('huggingface_hub.snapshot_download', fetch)
    expected, _ = load(folder)
    if suffix == 'bin':
        (folder / 'model.safetensors').rename(folder.parent / 'model')
    vlm, _ = load('owner/name')
    for own, value in zip(vlm.parameters(), expected.parameters(), strict=True):
        assert torch.equal(own, value)
    assert [name for name, _ in fetched] == ['owner/name'] * (2 if suffix == 'bin' else 1)
    change(folder, 'processor_config.json', audio_tokenizer={'path': 'x'})
    with pytest.raises(ValueError, match='processor_config.json names other files by audio_tokenizer'):
        load('owner/name')


def test_a_model_of_another_kind_is_named(folder):
    for kind in ('bert', 'paligemma'):
        (folder / 'config.json').write_text(f'{{"model_type": "{kind}"}}')
        with pytest.raises(
            ValueError, match=f"is a '{kind}', and LFI cannot lay .* the kinds llava, idefics3"
        ):
            load(folder)


def test_no_remote_code_runs(folder):
    (folder / 'config.json').write_text('{"auto_map": {"AutoConfig": "mine.Mine"}, "model_type": "mine"}')
    (folder / 'mine.py').write_text('raise SystemExit("it ran")')
    with pytest.raises(ValueError, match='does not contain a valid model of transformers'):
        load(folder)


def test_other_sources_of_weights_are_refused(folder):
    with pytest.raises(ValueError, match='pretrained and weights_file must be None for transformers:'):
        load_vlm(f'transformers:{folder}', 'openai', allow_random=False)


def test_without_its_requirements_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'transformers', None)
    with pytest.raises(ImportError, match=r"'transformers:a/b' needs what `pip install 'lfi\[multimodal\]'`"):
        load('a/b')


def test_texts_are_embedded_without_the_rest_of_the_model(folder, monkeypatch):
    loaded = []
    monkeypatch.setattr(
        text_tower_module, 'load_vlm', lambda *args: loaded.append(load_vlm(*args)) or loaded[0]
    )
    teacher = dict(
        model=f'transformers:{folder}', extractor=dict(type='generative'), concepts=NAMES, templates=['{}']
    )
    texts = TextTower(teacher).embed(NAMES)
    torch.testing.assert_close(texts, VLMAttentionTeacher(**teacher).text_embeddings)
    assert sum(parameter.numel() for parameter in loaded[0][0].parameters()) == 400 * 32


@pytest.mark.parametrize('part', ['text_config', 'vision_config'])
def test_a_part_with_code_of_its_own_is_refused_without_a_question(folder, monkeypatch, part):
    config = json.loads((folder / 'config.json').read_text())
    # Of a kind that AutoModel does not know it looks for the code.
    config[part] = dict(model_type='upernet', auto_map=dict(AutoModel='mine.Mine'))
    (folder / 'config.json').write_text(json.dumps(config))
    (folder / 'mine.py').write_text('raise SystemExit("it ran")')
    # transformers looks for the code of a part in the working directory.
    monkeypatch.chdir(folder)
    monkeypatch.setattr('builtins.input', lambda text: pytest.fail(text))
    with pytest.raises(ValueError, match='teacher folder .* custom code'):
        load(folder)


@pytest.mark.parametrize(
    ('name', 'message'), [('custom_generate', 'is code'), ('adapter_config.json', 'merge')]
)
def test_a_folder_that_leads_elsewhere_is_refused(folder, name, message):
    (folder / name).mkdir()
    with pytest.raises(ValueError, match=rf'llava.*{message}'):
        load(folder)


def change(folder, name, **values):
    path = folder / name
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.is_file() else {}), **values}))


def timm_tower(folder):
    """A tower of timm whose weights are a pickle that runs code."""
    (folder / 'tower').mkdir()
    (folder / 'tower/config.json').write_text(json.dumps(dict(architecture='resnet18')))
    (folder / 'tower/pytorch_model.bin').write_bytes(pickle.dumps(Sentinel()))
    tower = dict(backbone=f'local-dir:{folder}/tower', use_pretrained_backbone=True)
    change(folder, 'config.json', vision_config=dict(model_type='timm_backbone', **tower))


NESTED = {'vision_config': {'model_type': 'timm_wrapper'}}


class Sentinel:
    def __reduce__(self):
        return exec, ('import os; os.environ["LFI_SENTINEL"] = "1"',)


def weights_outside(folder):
    (folder / 'model.safetensors').rename(folder.parent / 'outside.safetensors')
    names = dict.fromkeys(load_file(folder.parent / 'outside.safetensors'), '../outside.safetensors')
    (folder / 'x.safetensors').write_bytes(b'')
    (folder / 'model.safetensors.index.json').write_text(json.dumps(dict(metadata={}, weight_map=names)))


def other_config(folder):
    """A config that transformers reads in place of config.json, with weights beside the folder."""
    (folder / 'model.safetensors').rename(folder.parent / 'outside.safetensors')
    (folder / 'x.safetensors').write_bytes(b'')
    change(folder, 'config.json', configuration_files=['config.4.0.0.json'])
    content = json.loads((folder / 'config.json').read_text())
    change(folder, 'config.4.0.0.json', **content, transformers_weights='../outside.safetensors')


@pytest.mark.parametrize(
    ('lead', 'message'),
    [
        (other_config, 'has configuration_files'),
        (timm_tower, 'names weights outside the folder by'),
        (weights_outside, 'weight_map whose files are beside it'),
        (partial(change, name='tokenizer_config.json', tokenizer_file='/etc/passwd'), 'by tokenizer_file'),
        (partial(change, name='processor_config.json', audio_tokenizer={'path': 'x'}), 'by audio_tokenizer'),
        (partial(change, name='tokenizer_config.json', tokenizer_file='tokenizer.json'), 'by tokenizer_file'),
        (partial(change, name='tokenizer_config.json', fast_tokenizer_files=['../x']), 'by fast_tokenizer'),
        (partial(change, name='tokenizer_config.json', source_spm='/etc/passwd'), 'by source_spm'),
        (partial(change, name='tokenizer_config.json', vocab='/etc/passwd'), 'by vocab'),
        (partial(change, name='special_tokens_map.json', tokenizer_file='/etc/passwd'), 'by tokenizer_file'),
        (partial(change, name='preprocessor_config.json', repo_path='/etc'), 'by repo_path'),
        (partial(change, name='config.json', transformers_weights='../x.safetensors'), 'by transformers_w'),
        (partial(change, name='config.json', vision_config=NESTED), 'by model_type'),
        (partial(change, name='audio_tokenizer_config.json', audio_tokenizer_class='x'), 'by audio_tok'),
    ],
)
def test_what_a_folder_leads_to_is_not_read(folder, monkeypatch, lead, message):
    monkeypatch.delenv('LFI_SENTINEL', raising=False)
    lead(folder)
    with pytest.raises(ValueError, match=message):
        load(folder)
    assert 'LFI_SENTINEL' not in os.environ


@pytest.mark.parametrize('name', ['tokenizer_config.json', 'audio_tokenizer_config.json', 'x.index.json'])
def test_a_link_to_what_has_no_end_is_not_read(folder, name):
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to('/dev/zero')
    with pytest.raises(ValueError, match=f'{name} is no regular file'):
        load(folder)


def test_what_published_processors_name_of_another_machine_is_passed_over(folder):
    files = dict(special_tokens_map_file='/root/.cache/nobody/x.json', name_or_path='/root/model')
    change(folder, 'tokenizer_config.json', **files)
    load(folder)


def test_a_config_of_fewer_layers_than_the_weights_is_refused(folder):
    text = json.loads((folder / 'config.json').read_text())['text_config']
    change(folder, 'config.json', text_config={**text, 'num_hidden_layers': 1})
    with pytest.raises(ValueError, match=r'it has no place for .*layers\.1\.'):
        load(folder)


def test_a_layer_that_the_tower_lacks_is_said_in_a_line(folder):
    change(folder, 'config.json', vision_feature_layer=99)
    with pytest.raises(ValueError, match='llava cannot read an image with its config: IndexError'):
        VLMAttentionTeacher(f'transformers:{folder}', concepts=NAMES, templates=('{}',))


def test_weights_of_8_bits_are_refused(folder):
    state = {
        name: value.to(torch.float8_e4m3fn) for name, value in load_file(folder / 'model.safetensors').items()
    }
    save_file(state, folder / 'model.safetensors', metadata={'format': 'pt'})
    with pytest.raises(ValueError, match='llava are floats of 8 bits'):
        load(folder)


def test_weights_that_a_model_computes_by_now_are_passed_over(folder):
    state = load_file(folder / 'model.safetensors')
    state['language_model.model.layers.0.self_attn.rotary_emb.inv_freq'] = torch.ones(4)
    save_file(state, folder / 'model.safetensors', metadata={'format': 'pt'})
    load(folder)


@pytest.mark.parametrize(
    'values', [dict(image_mean=[float('nan')] * 3), dict(image_std=[0, 1, 1]), dict(image_mean=[0.5])]
)
def test_a_mean_and_a_std_that_make_no_pixels_are_refused(folder, values):
    change(folder, 'preprocessor_config.json', **values)
    with pytest.raises(ValueError, match=f'{next(iter(values))}=.* must be'):
        load(folder)


def test_no_pickle_no_other_file_and_no_address_is_read(folder):
    other = folder.parent / 'other'
    other.write_bytes(pickle.dumps(Sentinel()))
    (folder / 'link').symlink_to(other)
    with only_files_of(folder):
        assert (folder / 'config.json').read_text() and (folder / 'link').read_bytes()
        for read in (other.read_bytes, lambda: (folder / '../other').read_bytes()):
            with pytest.raises(ForeignCodeError, match=r'other is not in the folder'):
                read()
        with pytest.raises(OfflineError):
            socket.create_connection(('127.0.0.1', 9))
    with no_foreign_code(), pytest.raises(ForeignCodeError, match=r'a teacher names builtins\.exec'):
        torch.load(other, weights_only=False)
    assert 'LFI_SENTINEL' not in os.environ


@pytest.mark.parametrize(
    ('file', 'values'),
    [
        ('tokenizer.json', None),
        ('config.json', dict(dtype='load')),
        ('tokenizer_config.json', dict(additional_special_tokens=5)),
        ('config.json', dict(vision_config=dict(model_type='clip_vision_model', patch_size=0))),
        ('processor_config.json', dict(processor_class='BarkProcessor')),
    ],
)
def test_whatever_is_wrong_in_a_folder_is_said_in_a_line(folder, file, values):
    if values is None:
        (folder / file).write_text('5')
    else:
        change(folder, file, **values)
    with pytest.raises(ValueError, match='llava does not contain a valid model of transformers'):
        load(folder)


def test_a_head_that_its_config_ties_to_other_weights_is_refused(folder):
    text = json.loads((folder / 'config.json').read_text())['text_config']
    change(folder, 'config.json', text_config={**text, 'tie_word_embeddings': True})
    with pytest.raises(ValueError, match='have an lm_head, but the config ties it'):
        load(folder)
    path = folder / 'model.safetensors'
    state = load_file(path)
    (name,) = (name for name in state if name.endswith('lm_head.weight'))
    (tokens,) = (name for name in state if name.endswith('embed_tokens.weight'))
    save_file({**state, name: state[tokens].clone()}, path, metadata={'format': 'pt'})
    load(folder)
