"""`load_vlm`: what it loads, and that each way to fail says what is wrong."""

import copy
import json
import os
import shutil

import open_clip
import pytest
import torch
from lfi.models.teachers.loading.folder_config import architecture_difference
from lfi.models.teachers.loading.weights import load_vlm
from lfi.models.teachers.loading.weights_source import WeightsSource, interpolation_of_weights
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
    (tmp_path / 'configs').mkdir()
    (tmp_path / 'configs/lfi-test-vit.json').write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / 'configs')
    shutil.copy(f'{source}/model.safetensors', tmp_path)
    return 'lfi-test-vit', f'{tmp_path}/model.safetensors'


@pytest.fixture
def tags(monkeypatch, named_model):
    """Gives the named model tags of open_clip, whose weights cannot be fetched."""

    def add(**configs):
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, named_model[0], configs)

    return add


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


@pytest.mark.parametrize('length', [15, 17])
def test_a_folder_whose_texts_have_another_length_than_its_weights_is_refused(folder, length):
    config = json.loads((folder / 'open_clip_config.json').read_text())
    config['model_cfg']['text_cfg']['context_length'] = length
    (folder / 'open_clip_config.json').write_text(json.dumps(config))
    with pytest.raises(ValueError, match=f'context_length={length}, but the weights have 16'):
        load_vlm(str(folder), None, allow_random=False)


@pytest.mark.parametrize('dtype', [torch.bool, torch.complex64, torch.int32])
def test_weights_of_another_kind_than_the_models_are_refused(folder, dtype):
    state = {name: value.to(dtype) for name, value in load_file(folder / 'model.safetensors').items()}
    save_file(state, folder / 'model.safetensors')
    with pytest.raises(ValueError, match=f'do not fit the model .*{dtype}, and the model has torch.float32'):
        load_vlm(str(folder), None, allow_random=False)


@pytest.mark.parametrize(
    ('name', 'value', 'message'),
    [
        ('logit_scale', float('nan'), 'logit_scale has values that are no finite numbers'),
        ('logit_scale', 100.0, 'logit_scale=100.0 is not the logarithm'),
        ('logit_scale', -200.0, 'logit_scale=-200.0 is not the logarithm'),
        ('logit_bias', float('nan'), 'logit_bias has values that are no finite numbers'),
        ('logit_bias', None, 'logit_bias=0.0 is missing or not finite'),
    ],
)
def test_a_scale_and_a_bias_that_make_no_presence_are_refused(folder, name, value, message):
    config = json.loads((folder / 'open_clip_config.json').read_text())
    config['model_cfg']['init_logit_bias'] = -10.0
    (folder / 'open_clip_config.json').write_text(json.dumps(config))
    state = {**load_file(folder / 'model.safetensors'), 'logit_bias': torch.tensor(-10.0)}
    save_file(state, folder / 'model.safetensors')
    load_vlm(str(folder), None, allow_random=False)
    del state[name]
    state |= {} if value is None else {name: torch.tensor(value)}
    save_file(state, folder / 'model.safetensors')
    with pytest.raises(ValueError, match=f'do not fit the model .*{message}'):
        load_vlm(str(folder), None, allow_random=False)


MEAN, STD = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)


def pixels_of(vlm):
    return tuple(vlm.visual.preprocess_cfg['mean']), tuple(vlm.visual.preprocess_cfg['std'])


def test_a_file_that_states_its_training_is_loaded(named_model):
    name, weights = named_model
    stated = dict(path=weights, mean=MEAN, std=STD, quick_gelu=False)
    vlm, _ = load_vlm(name, None, allow_random=False, weights_file=stated)
    assert_loaded(vlm, weights)
    assert pixels_of(vlm) == (MEAN, STD)


@pytest.mark.parametrize('argument', ['pretrained', 'weights_file'])
def test_a_file_with_its_config_beside_it_is_loaded(named_model, tmp_path, argument):
    name, weights = named_model
    model_cfg = open_clip.get_model_config(name)
    # Defaults may be written out, and what is no architecture may differ.
    model_cfg['vision_cfg'].update(pool_type='tok', patch_dropout=0.5)
    config = dict(model_cfg=model_cfg, preprocess_cfg=dict(mean=MEAN, std=STD, size=None))
    (tmp_path / 'open_clip_config.json').write_text(json.dumps(config))
    vlm, _ = load_vlm(name, **{**dict(pretrained=None, allow_random=False), argument: weights})
    assert_loaded(vlm, weights)
    assert pixels_of(vlm) == (MEAN, STD)


def test_a_file_of_a_tag_is_read_as_the_tag(named_model, tags):
    name, weights = named_model
    tags(ours=dict(mean=MEAN, std=STD), others=dict(mean=STD, std=MEAN))
    vlm, _ = load_vlm(name, 'ours', allow_random=False, weights_file=weights)
    assert_loaded(vlm, weights)
    assert pixels_of(vlm) == (MEAN, STD)


def test_a_file_alone_is_read_as_the_tags_where_all_agree(named_model, tags):
    name, weights = named_model
    tags(first=dict(mean=MEAN, std=STD), second=dict(mean=MEAN, std=STD))
    vlm, _ = load_vlm(name, weights, allow_random=False)
    assert pixels_of(vlm) == (MEAN, STD)


@pytest.mark.parametrize(
    ('configs', 'message'),
    [
        ({}, r'open_clip has no weights of lfi-test-vit\. Give weights_file=dict\(path='),
        (
            dict(a=dict(mean=MEAN, std=STD), b=dict(mean=MEAN, std=STD, quick_gelu=True)),
            r"open_clip's weights of lfi-test-vit differ in these\. Give pretrained='a', .* weights_file",
        ),
    ],
)
def test_a_file_whose_training_is_not_known_is_refused(named_model, tags, configs, message):
    name, weights = named_model
    tags(**configs)
    with pytest.raises(ValueError, match=rf'does not say its mean, std and activation, and {message}'):
        load_vlm(name, weights, allow_random=True)


@pytest.mark.parametrize('source', ['tag', 'stated', 'config'])
def test_a_file_trained_with_another_activation_is_refused(named_model, tags, tmp_path, source):
    name, weights = named_model
    tags(ours=dict(mean=MEAN, std=STD, quick_gelu=True))
    config = dict(
        model_cfg={**open_clip.get_model_config(name), 'quick_gelu': True},
        preprocess_cfg=dict(mean=MEAN, std=STD),
    )
    (tmp_path / 'open_clip_config.json').write_text(json.dumps(config))
    stated = dict(path=weights, mean=MEAN, std=STD, quick_gelu=True)
    tag, file = dict(tag=('ours', weights), stated=(None, stated), config=(None, weights))[source]
    with pytest.raises(
        ValueError, match='QuickGELU mismatch between the model .False. and its weights .True.'
    ):
        load_vlm(name, tag, allow_random=False, weights_file=file)


@pytest.mark.parametrize(
    ('pretrained', 'weights_file', 'message'),
    [
        ('a.pt', 'b.pt', "pretrained='a.pt' and weights_file='b.pt' both name a file"),
        (None, dict(path='a.pt', mean=MEAN), 'must be a path, or have the keys path, mean, std, quick_gelu'),
        (None, dict(mean=MEAN, std=STD, quick_gelu=True), 'must be a path, or have the keys path'),
        (
            'ours',
            dict(path='a.pt', mean=MEAN, std=STD, quick_gelu=True),
            "says how it was trained, and so does the tag pretrained='ours'",
        ),
    ],
)
def test_a_file_that_is_named_twice_or_by_half_is_refused(named_model, pretrained, weights_file, message):
    with pytest.raises(ValueError, match=message):
        load_vlm(named_model[0], pretrained, allow_random=True, weights_file=weights_file)


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (dict(mean=[123.675, 116.28, 103.53]), r'mean=\[123.675, .* must be in \[0, 1\].* by 255'),
        (dict(mean=[0.5, -0.1, 0.5]), r'mean=\[0.5, -0.1, 0.5\] must be in \[0, 1\]'),
        (dict(mean=[0.5, float('nan'), 0.5]), r'mean=\[0.5, nan, 0.5\] must be in \[0, 1\]'),
        (dict(mean=0.5), 'mean=0.5 must be three numbers'),
        (dict(mean=None), 'mean=None must be three numbers'),
        (dict(mean=[]), r'mean=\[\] must be three numbers'),
        (dict(mean='0.5'), "mean='0.5' must be three numbers"),
        (dict(mean=['0.5'] * 3), "mean=.'0.5', .* must be three numbers"),
        (dict(std=[58.395, 57.12, 57.375]), r'std=\[58.395, .* must be above 0 and at most 1.* by 255'),
        (dict(std=[0, 0, 0]), r'std=\[0, 0, 0\] must be above 0'),
        (dict(std=[0.5]), r'std=\[0.5\] must be three numbers'),
        (dict(quick_gelu='False'), "quick_gelu='False' must be True or False"),
        (dict(quick_gelu=None), 'quick_gelu=None must be True or False'),
    ],
)
def test_a_stated_training_of_wrong_values_is_refused(named_model, wrong, message):
    name, weights = named_model
    stated = {**dict(path=weights, mean=MEAN, std=STD, quick_gelu=False), **wrong}
    with pytest.raises(ValueError, match=f'weights_file: {message}'):
        load_vlm(name, None, allow_random=True, weights_file=stated)


def test_a_config_beside_a_file_in_0_to_255_is_refused(named_model, tmp_path):
    model_cfg = open_clip.get_model_config(named_model[0])
    config = dict(model_cfg=model_cfg, preprocess_cfg=dict(mean=[123.675, 116.28, 103.53]))
    (tmp_path / 'open_clip_config.json').write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r'open_clip_config\.json: mean=.*divide'):
        load_vlm(*named_model, allow_random=False)


@pytest.mark.parametrize(
    ('part', 'wrong', 'message'),
    [
        (None, dict(embed_dim=7), r'embed_dim is 7, not \d+'),
        ('vision_cfg', dict(width=7), r'vision_cfg\.width is 7, not \d+'),
        ('vision_cfg', dict(no_ln_pre=True), r'vision_cfg\.no_ln_pre is True, not False'),
        ('text_cfg', dict(pool_type='last'), r"text_cfg\.pool_type is 'last', not 'argmax'"),
        (None, dict(multimodal_cfg={}), r'multimodal_cfg\.\w+ is .*, not None'),
    ],
)
def test_a_config_of_another_architecture_beside_a_file_is_refused(
    named_model, tmp_path, part, wrong, message
):
    name, weights = named_model
    model_cfg = open_clip.get_model_config(name)
    (model_cfg if part is None else model_cfg[part]).update(wrong)
    (tmp_path / 'open_clip_config.json').write_text(json.dumps(dict(model_cfg=model_cfg)))
    message = rf'open_clip_config\.json has another architecture than the model lfi-test-vit: {message}\.'
    with pytest.raises(ValueError, match=message):
        load_vlm(name, weights, allow_random=False)


@pytest.mark.parametrize('model_cfg', [{}, dict(embed_dim=8, vision_cfg=dict(depth=3), text_cfg={})])
def test_a_config_beside_a_file_that_describes_no_model_is_refused(named_model, tmp_path, model_cfg):
    (tmp_path / 'open_clip_config.json').write_text(json.dumps(dict(model_cfg=model_cfg)))
    with pytest.raises(ValueError, match=r'open_clip_config\.json is not a config of an open_clip model'):
        load_vlm(*named_model, allow_random=False)


def test_a_tag_that_does_not_name_its_activation_has_the_models_own(named_model, tags, monkeypatch, recwarn):
    name, weights = named_model
    own = open_clip.get_model_config(name)
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, {**own, 'quick_gelu': True})
    tags(ours=dict(mean=MEAN, std=STD))
    monkeypatch.setattr(open_clip.factory, 'download_pretrained', lambda *args, **kwargs: weights)
    for file in (None, weights):
        vlm, _ = load_vlm(name, 'ours', allow_random=False, weights_file=file)
        assert_loaded(vlm, weights)
        assert pixels_of(vlm) == (MEAN, STD)
    assert not [warning for warning in recwarn if 'QuickGELU' in str(warning.message)]


def test_the_only_weights_of_roberta_fit_it():
    (tag,) = open_clip.list_pretrained_tags_by_model('roberta-ViT-B-32')
    assert WeightsSource(tag).training('roberta-ViT-B-32').quick_gelu


def test_every_model_of_open_clip_has_its_own_architecture():
    for name in open_clip.list_models():
        config = open_clip.get_model_config(name)
        assert architecture_difference(config, config) is None


def test_a_config_beside_a_file_that_cannot_be_read_is_named(named_model, tmp_path):
    (tmp_path / 'open_clip_config.json').write_text('[]')
    with pytest.raises(ValueError, match=r'open_clip_config\.json is not a config of an open_clip model'):
        load_vlm(*named_model, allow_random=False)


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
        ValueError, match=r"pretrained='openai' must be None: the folder .* contains its weights"
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


@pytest.mark.parametrize(
    ('model', 'tag', 'interpolation'),
    [('MobileCLIP-S1', 'datacompdr', 'bilinear'), ('ViT-B-32', 'openai', 'bicubic')],
)
def test_a_file_of_a_tags_weights_is_resized_for_as_the_tag_says(model, tag, interpolation):
    source = WeightsSource.of(tag, 'weights.pt')
    assert interpolation_of_weights(source, model) == interpolation


def test_a_file_with_a_config_beside_it_is_resized_for_as_that_says(folder):
    path = folder / 'open_clip_config.json'
    config = json.loads(path.read_text())
    config['preprocess_cfg']['interpolation'] = 'bilinear'
    path.write_text(json.dumps(config))
    source = WeightsSource.of(None, folder / 'model.safetensors')
    assert interpolation_of_weights(source, 'ViT-B-32') == 'bilinear'


def test_a_plain_vit_whose_config_asks_for_its_tokens_too_is_read(folder):
    path = folder / 'open_clip_config.json'
    config = json.loads(path.read_text())
    config['model_cfg']['vision_cfg']['output_tokens'] = True
    path.write_text(json.dumps(config))
    vlm, _ = load_vlm(str(folder), None, allow_random=False)
    assert vlm.encode_image(torch.zeros(1, 3, 32, 32)).ndim == 2


@pytest.mark.parametrize(
    ('preprocess', 'message'),
    [
        (None, r'mean=None must be three numbers, .*; preprocess_cfg must have mean and std'),
        (dict(mean=MEAN, std=None), 'std=None must be three numbers'),
        (dict(mean=[123.675, 116.28, 103.53], std=STD), 'mean=.* divide'),
    ],
)
def test_a_folder_that_does_not_say_its_pixels_is_refused(folder, preprocess, message):
    path = folder / 'open_clip_config.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), 'preprocess_cfg': preprocess}))
    with pytest.raises(ValueError, match=rf'open_clip_config\.json: {message}'):
        load_vlm(str(folder), None, allow_random=False)


def test_a_repository_of_a_hub_is_told_how_to_be_fetched():
    with pytest.raises(ValueError, match=r'is a repository: .*`hf download timm/a --local-dir FOLDER`'):
        load_vlm('hf-hub:timm/a', None, allow_random=False)


def test_a_folder_of_transformers_is_told_from_one_of_open_clip(folder):
    (folder / 'open_clip_config.json').rename(folder / 'config.json')
    with pytest.raises(FileNotFoundError, match=r"of transformers: .* write 'transformers:FOLDER'"):
        load_vlm(str(folder), None, allow_random=False)


@pytest.mark.parametrize('text', ['{"model_cfg": {', '{"vision_cfg": {}}'])
def test_a_config_that_cannot_be_read_names_the_folder(folder, text):
    (folder / 'open_clip_config.json').write_text(text)
    with pytest.raises(ValueError, match=rf'{folder.name}.*open_clip_config\.json is not a config'):
        load_vlm(str(folder), None, allow_random=False)


def reshape(weights):
    return {**weights, 'visual.proj': weights['visual.proj'][:, 1:].contiguous()}


def drop(weights):
    return {name: value for name, value in weights.items() if name != 'visual.proj'}


@pytest.mark.parametrize('spoil', [reshape, drop])
@pytest.mark.parametrize(('suffix', 'save'), [('safetensors', save_file), ('pth', torch.save)])
def test_weights_that_do_not_fit_name_their_file(folder, spoil, suffix, save):
    weights = load_file(folder / 'model.safetensors')
    (folder / 'model.safetensors').unlink()
    save(spoil(weights), folder / f'model.{suffix}')
    with pytest.raises(ValueError, match=rf'the weights in .*{folder.name} do not fit[\s\S]*visual\.proj'):
        load_vlm(str(folder), None, allow_random=True)


@pytest.mark.parametrize('model', ['{}', 'transformers:{}'])
@pytest.mark.parametrize('name', ['pytorch_model.bin', 'additional/vocab.txt'])
def test_a_pipe_in_a_folder_is_not_read(folder, model, name):
    if model.startswith('transformers'):
        pytest.importorskip('transformers')
    (folder / 'additional').mkdir()
    os.mkfifo(folder / name)
    with pytest.raises(ValueError, match=rf'{name} is no regular file'):
        load_vlm(model.format(folder), None, allow_random=False)


def test_an_archive_of_torchscript_is_named_as_one(folder):
    (folder / 'model.safetensors').unlink()
    torch.jit.trace(torch.nn.Linear(1, 1), torch.zeros(1, 1)).save(folder / 'model.pth')
    with pytest.raises(ValueError, match=r'are a TorchScript archive, as OpenAI .* that open_clip fetches'):
        load_vlm(str(folder), None, allow_random=True)


@pytest.mark.parametrize('part', [0.5, 0])
@pytest.mark.parametrize(('suffix', 'save'), [('safetensors', save_file), ('pth', torch.save)])
def test_truncated_weights_name_their_file(folder, part, suffix, save):
    path = folder / f'model.{suffix}'
    weights = load_file(folder / 'model.safetensors')
    (folder / 'model.safetensors').unlink()
    save(weights, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ValueError, match=f'the weights in .*{folder.name} do not fit .* or are corrupted'):
        load_vlm(str(folder), None, allow_random=True)


def test_a_pickle_of_foreign_objects_is_not_executed(named_model, tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path / 'sprung').touch, ()

    torch.save({'visual.proj': Trap()}, tmp_path / 'trap.pt')
    stated = dict(path=str(tmp_path / 'trap.pt'), mean=MEAN, std=STD, quick_gelu=False)
    with pytest.raises(ValueError, match=r'the weights in .*trap\.pt do not fit'):
        load_vlm(named_model[0], None, allow_random=True, weights_file=stated)
    assert not (tmp_path / 'sprung').exists()


@pytest.mark.parametrize(
    ('model', 'pretrained', 'error', 'message'),
    [
        ('ViT-B-99', None, ValueError, "model='ViT-B-99' is neither a folder nor a model of open_clip"),
        ('ViT-B16', 'openai', ValueError, 'similar names are .*ViT-B-16.*; LFI has shapes-tiny'),
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


def test_blips_vocabulary_is_not_read_from_the_working_directory(tmp_path, monkeypatch):
    pytest.importorskip('transformers')
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'bert-base-uncased').mkdir()
    with pytest.raises(ValueError, match="'bert-base-uncased'.* has a file or folder of this name"):
        load_vlm('mmpretrain:blip-base_3rdparty_retrieval', None, allow_random=True)
