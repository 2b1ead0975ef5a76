"""Missing weights and packages of a config, printed before the commands that train it."""

import pytest
from huggingface_hub import constants
from lfi.cli import first_steps
from mmengine.config import Config

SIGLIP = dict(model='ViT-B-16-SigLIP2', pretrained='webli')


def test_weights_that_are_not_here_are_named_with_their_address(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path))
    (message,) = first_steps.missing_weights(SIGLIP)
    assert message.startswith(
        "model.teacher: the weights 'webli' of ViT-B-16-SigLIP2 are not on this machine"
    )
    assert 'https://huggingface.co/timm/ViT-B-16-SigLIP2;' in message
    folder = tmp_path / 'models--timm--ViT-B-16-SigLIP2/snapshots/0'
    folder.mkdir(parents=True)
    (folder / 'open_clip_model.safetensors').touch()
    assert first_steps.missing_weights(SIGLIP) == []


def test_weights_at_an_address_lie_in_the_folder_of_open_clip(tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    teacher = dict(model='RN50', pretrained='yfcc15m')
    monkeypatch.setattr('open_clip.get_pretrained_cfg', lambda *names: dict(url='https://a/b/rn50.pt'))
    (message,) = first_steps.missing_weights(teacher)
    assert 'https://a/b/rn50.pt' in message
    (tmp_path / '.cache/clip').mkdir(parents=True)
    (tmp_path / '.cache/clip/rn50.pt').touch()
    assert first_steps.missing_weights(teacher) == []


def test_a_tokenizer_of_transformers_needs_it(monkeypatch):
    monkeypatch.setattr(first_steps, 'find_spec', lambda name: None)
    (message,) = first_steps.missing_packages(SIGLIP)
    assert message.endswith("needs transformers: pip install 'lfi[multimodal]'")
    assert first_steps.missing_packages(dict(model='ViT-B-16')) == []


@pytest.mark.parametrize(
    'teacher',
    [None, dict(model='shapes-tiny'), dict(model='transformers:x/y'), {**SIGLIP, 'weights_file': 'a'}],
)
def test_nothing_is_printed_for_a_teacher_that_is_here(teacher, capsys, monkeypatch):
    monkeypatch.setattr(first_steps, 'find_spec', lambda name: name)
    first_steps.print_first_steps(Config(dict(model=dict(teacher=teacher))))
    assert capsys.readouterr().out == ''
