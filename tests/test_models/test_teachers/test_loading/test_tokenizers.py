"""Tokenizers whose files lie on a hub, or beside the weights."""

import json
import shutil
import sys
from pathlib import Path

import open_clip
import pytest
import torch
from lfi.models import VLMAttentionTeacher
from lfi.models.teachers.loading import weights
from lfi.models.teachers.loading.tokenizers import load_tokenizer
from lfi.models.teachers.loading.weights import BUILT_IN, find_folder, load_vlm

NAMES = ['cat', 'dog', 'red ring']
WORDS = ['[PAD]', '[UNK]', 'a', 'photo', 'of', 'cat', 'dog', 'red', 'ring', '.']
SIGLIP = 'ViT-B-16-SigLIP'


@pytest.fixture
def folder(teacher_folder, tmp_path):
    """A teacher whose tokenizer is one of transformers, without its files."""
    path = shutil.copytree(teacher_folder('vit_bias'), tmp_path / 'teacher')
    config = json.loads((path / 'open_clip_config.json').read_text())
    config['model_cfg']['text_cfg'] |= dict(hf_tokenizer_name='somebody/tokenizer', context_length=16)
    (path / 'open_clip_config.json').write_text(json.dumps(config))
    return path


def write_tokenizer(path):
    tokenizers = pytest.importorskip('tokenizers')
    transformers = pytest.importorskip('transformers')
    words = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token='[UNK]')
    )
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token='[UNK]', pad_token='[PAD]')
    fast.save_pretrained(path)


@torch.no_grad()
def test_a_folder_brings_the_tokenizer_that_its_model_was_trained_with(folder):
    write_tokenizer(folder)
    ids = load_tokenizer('teacher', folder)(['a photo of a red ring.', 'cat'])
    expected = [[WORDS.index(w) for w in text.split()] for text in ('a photo of a red ring .', 'cat')]
    assert ids.tolist() == [row + [0] * (16 - len(row)) for row in expected]
    teacher = VLMAttentionTeacher(str(folder), extractor=dict(type='clearclip'), concepts=NAMES)
    vlm = open_clip.create_model(f'local-dir:{folder}')
    prompts = [[2, 3, 4, 2, *(WORDS.index(w) for w in name.split()), 9] for name in NAMES]
    ids = torch.tensor([row + [0] * (16 - len(row)) for row in prompts])
    torch.testing.assert_close(
        teacher.text_embeddings, vlm.encode_text(ids, normalize=True), rtol=1e-4, atol=1e-5
    )


def test_a_folder_without_the_tokenizers_files_says_which_belong_there(folder):
    pytest.importorskip('transformers')
    message = r"no tokenizer that can be read: its model's is 'somebody/tokenizer', .*tokenizer.json"
    with pytest.raises(FileNotFoundError, match=message):
        VLMAttentionTeacher(str(folder), extractor=dict(type='clearclip'), concepts=NAMES)


def test_a_tokenizer_that_the_config_does_not_name_is_not_passed_over(teacher_folder, tmp_path):
    path = shutil.copytree(teacher_folder('vit'), tmp_path / 'teacher')
    (path / 'tokenizer.json').write_text('{}')
    with pytest.raises(ValueError, match='has a tokenizer.json, .* set model_cfg.text_cfg.hf_tokenizer_name'):
        load_tokenizer('teacher', path)


def test_without_network_the_tokenizer_is_named_before_weights_are_made(monkeypatch):
    def fetch(name, **options):
        raise OSError('not in the cache' if options.get('local_files_only') else 'no connection')

    monkeypatch.setattr(open_clip, 'get_tokenizer', fetch)
    monkeypatch.setattr(open_clip, 'create_model', lambda *a, **k: pytest.fail('weights were made'))
    message = rf"the tokenizer 'timm/{SIGLIP}' of {SIGLIP} could not be fetched: no connection\. .* a folder"
    with pytest.raises(RuntimeError, match=message):
        VLMAttentionTeacher(SIGLIP, pretrained='webli', extractor=dict(type='maskclip'), concepts=NAMES)


def test_what_is_on_this_machine_is_taken_without_asking_the_hub(monkeypatch):
    asked = []
    monkeypatch.setattr(open_clip, 'get_tokenizer', lambda name, **options: asked.append((name, options)))
    load_tokenizer(SIGLIP)
    assert asked == [(SIGLIP, dict(local_files_only=True, trust_remote_code=False))]


def test_a_vocabulary_that_open_clip_brings_needs_no_hub(monkeypatch):
    monkeypatch.setitem(sys.modules, 'transformers', None)
    assert load_tokenizer('ViT-B-32')(['a cat']).shape == (1, 77)
    with pytest.raises(ImportError, match=rf"of {SIGLIP} needs transformers: pip install 'lfi\[mul"):
        load_tokenizer(SIGLIP)


def test_no_code_of_a_teachers_folder_is_run(tmp_path):
    folder = shutil.copytree(BUILT_IN / 'shapes-tiny', tmp_path / 'teacher')
    config = json.loads((folder / 'open_clip_config.json').read_text())
    options = dict(hf_tokenizer_name='x', tokenizer_kwargs=dict(trust_remote_code=True))
    config['model_cfg']['text_cfg'].update(options)
    (folder / 'open_clip_config.json').write_text(json.dumps(config))
    auto_map = dict(tokenizer_class='Own', auto_map=dict(AutoTokenizer=['own_tokenizer.Own', None]))
    (folder / 'tokenizer_config.json').write_text(json.dumps(auto_map))
    (folder / 'own_tokenizer.py').write_text('raise SystemExit("it was run")')
    with pytest.raises(ValueError, match=r'open_clip_config\.json says text_cfg\..*code'):
        load_vlm(str(folder), None, allow_random=False)
    with pytest.raises(ValueError, match=r'open_clip_config\.json says text_cfg\..*code'):
        load_tokenizer('teacher', folder)


def test_no_code_of_a_text_model_is_run(folder, tmp_path, monkeypatch):
    transformers = pytest.importorskip('transformers')
    write_tokenizer(folder)
    config = json.loads((folder / 'open_clip_config.json').read_text())
    config['model_cfg']['text_cfg'] |= dict(hf_model_name='stranger/model', hf_model_pretrained=False)
    (folder / 'open_clip_config.json').write_text(json.dumps(config))
    text_model = tmp_path / 'text-model'
    text_model.mkdir()
    auto_map = dict(AutoConfig='own.Own', AutoModel='own.Own')
    (text_model / 'config.json').write_text(json.dumps(dict(model_type='own', auto_map=auto_map)))
    (text_model / 'own.py').write_text('raise SystemExit("it was run")')
    read = transformers.AutoConfig.from_pretrained
    monkeypatch.setattr(transformers.AutoConfig, 'from_pretrained', lambda name, **_: read(text_model))
    monkeypatch.setattr('builtins.input', lambda text: pytest.fail(text))
    with pytest.raises(ValueError, match="the text tower 'stranger/model' of .*teacher cannot be built"):
        load_vlm(str(folder), None, allow_random=False)


def test_a_folders_text_model_is_not_fetched(folder, monkeypatch):
    pytest.importorskip('transformers')
    write_tokenizer(folder)
    config = json.loads((folder / 'open_clip_config.json').read_text())
    config['model_cfg']['text_cfg'] |= dict(hf_model_name='stranger/model')
    (folder / 'open_clip_config.json').write_text(json.dumps(config))
    monkeypatch.setattr('socket.getaddrinfo', lambda *args, **_: pytest.fail(f'{args[0]} is asked'))
    with pytest.raises(ValueError, match=r"'stranger/model' of .* `hf download stranger/model"):
        load_vlm(str(folder), None, allow_random=False)


def test_a_named_models_text_tower_on_a_hub_is_named(monkeypatch):
    transformers = pytest.importorskip('transformers')

    def no_network(*args, **options):
        raise OSError('no route to host')

    monkeypatch.setattr(weights, 'load_tokenizer', lambda model: None)
    monkeypatch.setattr(transformers.AutoConfig, 'from_pretrained', no_network)
    message = "text tower 'roberta-base' of roberta-ViT-B-32 .*no route to host.* `hf download roberta-base"
    with pytest.raises(ValueError, match=message):
        load_vlm('roberta-ViT-B-32', None, allow_random=True)


def test_a_tokenizer_of_the_working_directory_is_not_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'timm' / SIGLIP).mkdir(parents=True)
    with pytest.raises(
        ValueError, match=f"'timm/{SIGLIP}'.* has a file or folder of this name.*another directory"
    ):
        load_tokenizer(SIGLIP)


def test_a_folder_of_the_working_directory_is_given_as_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(BUILT_IN / 'shapes-tiny', 'mine')
    assert find_folder('./mine') == Path('mine')
    with pytest.raises(ValueError, match=r"model='\./mine'"):
        load_vlm('mine', None, allow_random=False)


def test_a_folders_text_model_is_not_read_from_the_working_directory(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    write_tokenizer(folder)
    config = json.loads((folder / 'open_clip_config.json').read_text())
    config['model_cfg']['text_cfg'] |= dict(hf_model_name='roberta-base', hf_model_pretrained=False)
    (folder / 'open_clip_config.json').write_text(json.dumps(config))
    Path('roberta-base').mkdir()
    monkeypatch.setattr('builtins.input', lambda text: pytest.fail(text))
    with pytest.raises(
        ValueError, match="'roberta-base'.* has a file or folder of this name.*another directory"
    ):
        load_vlm(str(folder), None, allow_random=False)


@pytest.mark.parametrize('content', ['5', '{"version": "9.0"}', ''])
def test_a_tokenizer_that_cannot_be_read_is_named(folder, content):
    write_tokenizer(folder)
    (folder / 'tokenizer.json').write_text(content)
    with pytest.raises(FileNotFoundError, match='has no tokenizer that can be read'):
        load_tokenizer('teacher', folder)


@pytest.mark.parametrize('file', ['tokenizer_config.json', 'special_tokens_map.json'])
def test_a_folders_tokenizer_is_not_read_elsewhere(folder, tmp_path, file):
    write_tokenizer(folder)
    (folder / 'tokenizer.json').rename(tmp_path / 'other.json')
    config = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps({**config, 'tokenizer_file': str(tmp_path / 'other.json')}))
    with pytest.raises(ValueError, match=rf'{file} names other files by tokenizer_file'):
        load_tokenizer('teacher', folder)


def test_a_number_of_an_open_file_is_no_tokenizers_file(folder):
    write_tokenizer(folder)
    config = json.loads((folder / 'tokenizer_config.json').read_text())
    (folder / 'tokenizer_config.json').write_text(json.dumps({**config, 'vocab_file': 0}))
    with pytest.raises(ValueError, match='tokenizer_config.json names other files by vocab_file'):
        load_tokenizer('teacher', folder)
