"""What `lfi doctor` finds in installations that are well, and in those that are not."""

import io
import os
import shutil
from email.message import Message
from urllib.error import HTTPError, URLError

import pytest
import torch
from lfi.cli import doctor, run_command
from lfi.cli.doctor import Finding
from rich.console import Console


@pytest.fixture
def versions(monkeypatch):
    """The installed distributions, to be changed; what is no distribution cannot be found."""
    there = dict.fromkeys(('torch', 'torchvision', 'open_clip_torch', 'timm', *doctor.STACKS['onedl']), '1.0')
    monkeypatch.setattr(
        doctor, 'version_of', lambda *names: next((there[name] for name in names if name in there), None)
    )
    return there


@pytest.fixture
def hidden(monkeypatch):
    """Packages that cannot be found, to be changed."""
    names, find_spec = set(), doctor.find_spec
    monkeypatch.setattr(doctor, 'find_spec', lambda name: None if name in names else find_spec(name))
    return names


def by_name(findings):
    return {finding.name: finding for finding in findings}


def folders_of(config):
    return doctor.config_findings(config, doctor.skip_host).get(doctor.FOLDERS)


def checkpoints_in(config, ask=doctor.skip_host):
    return doctor.config_findings(config, ask)[f'Checkpoints of {config}']


def test_this_installation_can_train(versions, hidden):
    hidden.add('gradio')
    found = by_name(doctor.stack())
    assert found['stack'] == Finding('ok', 'stack', 'onedl')
    assert found['mmcv'].detail == '1.0'
    assert found['models'] == Finding('ok', 'models', 'can be imported')
    assert found['gradio'] == Finding('missing', 'gradio', 'not installed', "pip install 'lfi[demo]'")
    assert not [finding for finding in found.values() if finding.state == 'wrong']


def test_what_is_missing_is_named_with_what_brings_it(versions, hidden):
    for name in doctor.STACKS['onedl']:
        del versions[name]
    versions.update(dict.fromkeys(doctor.STACKS['openmmlab'], '2.0'))
    hidden.add('mmdet')
    found = by_name(doctor.stack())
    assert found['stack'].detail == 'openmmlab'
    assert found['mmdet'] == Finding('wrong', 'mmdet', 'not installed', "pip install 'lfi[openmmlab]'")


def test_two_stacks_in_one_environment_are_wrong(versions):
    versions['mmengine'] = '0.10.7'
    found = by_name(doctor.stack())['stack']
    assert found.state == 'wrong' and 'new environment' in found.fix


def test_models_that_cannot_be_imported_are_wrong(monkeypatch):
    def fail(name):
        raise AssertionError('MMCV==9.0 is used\nbut incompatible')

    monkeypatch.setattr(doctor, 'import_module', fail)
    found = doctor.models()
    assert found.state == 'wrong'
    assert found.detail == 'cannot be imported: AssertionError: MMCV==9.0 is used but incompatible'
    assert found.fix == 'reinstall the package that the error names'
    monkeypatch.setattr(doctor, 'version_of', {'mmpretrain': '1.2.0'}.get)
    monkeypatch.setattr(doctor, 'find_spec', lambda name: True)
    assert doctor.models().fix.startswith('pip uninstall transformers')


def test_devices():
    found = by_name(doctor.devices())
    assert found['cpu'].detail == f'{torch.get_num_threads()} threads of {os.cpu_count()}'
    assert ('GPU' in found) is not torch.cuda.is_available()
    assert found["mmcv's ops"].detail in ('compiled', "lfi's stand-in by torchvision")


def test_the_gpu_of_a_mac_is_listed(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: True)
    found = by_name(doctor.devices())
    assert 'mps' in found and 'GPU' not in found


def test_folders_of_the_configs_are_looked_for_below_the_roots(tmp_path, monkeypatch):
    monkeypatch.setenv('LFI_DATA_ROOT', str(tmp_path))
    monkeypatch.delenv('LFI_TEACHER_ROOT', raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'coco').mkdir()
    found = by_name(doctor.roots())
    assert found['LFI_DATA_ROOT'] == Finding('ok', 'LFI_DATA_ROOT', str(tmp_path))
    assert found['  coco'].state == 'ok'
    for name in ('ade', 'imagenet', 'PACS', 'tiny-imagenet-200', 'VLCS'):
        fix = f'export LFI_DATA_ROOT=FOLDER, the one that holds {name}'
        assert found[f'  {name}'] == Finding('missing', f'  {name}', f'not in {tmp_path}', fix)
    # These are folders of one's own.
    assert not {'  images', '  labelled'} & found.keys()
    assert found['LFI_TEACHER_ROOT'].detail == 'checkpoints (default) is not a folder'
    assert found['  lit-effnet-lite0'].state == 'missing'


def test_of_a_config_only_the_folders_that_it_reads_are_looked_for(tmp_path, monkeypatch):
    monkeypatch.setenv('LFI_DATA_ROOT', str(tmp_path))
    monkeypatch.delenv('LFI_TEACHER_ROOT', raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'coco').mkdir()
    assert by_name(folders_of('lfi_mask-rcnn_r50-fpn_1x_coco')).keys() == {'LFI_DATA_ROOT', '  coco'}
    found = by_name(folders_of('lfi_vit-128x6-p8_lit-lite0_tiny-imagenet'))
    folders = {'  tiny-imagenet-200', '  lit-effnet-lite0'}
    assert found.keys() == {'LFI_DATA_ROOT', 'LFI_TEACHER_ROOT', *folders}
    assert {found[name].state for name in folders} == {'missing'}
    for config in ('lfi_vit-128x6-p8_shapes', 'mmdet::rtmdet_tiny_8xb32-300e_coco'):
        said = 'the config names no folder below LFI_DATA_ROOT or LFI_TEACHER_ROOT'
        assert folders_of(config) == [Finding('ok', 'none', said)]
    assert folders_of('lfi_vit-tny_shapes') is None


def test_bytecode_beside_the_teachers_is_not_read(tmp_path, monkeypatch):
    # pip compiles the configs of a wheel.
    shutil.copytree(doctor.configs_folder(), tmp_path / 'configs')
    (tmp_path / 'configs/_base_/teachers/__pycache__').mkdir(exist_ok=True)
    monkeypatch.setattr(doctor, 'configs_folder', lambda: tmp_path / 'configs')
    said = 'the config names no folder below LFI_DATA_ROOT or LFI_TEACHER_ROOT'
    assert folders_of('lfi_vit-128x6-p8_shapes') == [Finding('ok', 'none', said)]


def test_a_folder_that_a_config_replaces_is_not_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = doctor.configs_folder() / 'classification/lfi_resnet50_clip-b16_imagenet.py'
    loaders = ('train_dataloader', 'val_dataloader', 'test_dataloader')
    replaced = (f"{loader} = dict(dataset=dict(data_root='mine'))" for loader in loaders)
    (tmp_path / 'mine.py').write_text('\n'.join((f'_base_ = {str(base)!r}', *replaced)))
    (found,) = folders_of('mine.py')
    assert found.name == 'none'


def test_what_hubs_have_given(tmp_path, monkeypatch):
    constants = pytest.importorskip('huggingface_hub.constants')
    (tmp_path / 'models--timm--vit_base').mkdir()
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path))
    monkeypatch.setattr(constants, 'HF_HUB_OFFLINE', True)
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'torch'))
    found = by_name(doctor.hubs())
    assert found['Hugging Face'].detail == f'{tmp_path}: timm/vit_base'
    assert found['HF_HUB_OFFLINE'].detail.startswith('set: ')
    assert found['torch hub'].detail == f'{tmp_path / "torch"}: no checkpoints'


def test_a_hubs_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    constants = pytest.importorskip('huggingface_hub.constants')
    (tmp_path / 'file').write_text('')
    monkeypatch.setattr(constants, 'HF_HUB_CACHE', str(tmp_path / 'file/hub'))
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'file/torch'))
    found = by_name(doctor.hubs())
    assert found['Hugging Face'].state == found['torch hub'].state == 'missing'
    assert found['Hugging Face'].detail == f'{tmp_path / "file/hub"} is not writable: no models'
    assert 'export HF_HOME=FOLDER' in found['Hugging Face'].fix


CONFIG = """
load_from = 'start.pth'
model = dict(
    type='mmpretrain.ImageClassifier',
    backbone=dict(type='ResNet', init_cfg=dict(type='Pretrained', checkpoint='{backbone}')),
    neck=dict(init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18')),
    head=dict(init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet1')),
)
"""
GONE = 'https://download.openmmlab.com/mmclassification/v0/resnet/resnet50_8xb32_in1k_20210831-ea4938fc.pth'
BACKBONE = 'model.backbone.init_cfg.checkpoint'


@pytest.fixture
def checkpoints_of(tmp_path, monkeypatch):
    """What is found of a config, by the address of its backbone's weights."""
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def find(ask=doctor.skip_host, backbone=GONE):
        (tmp_path / 'mine.py').write_text(CONFIG.format(backbone=backbone))
        return by_name(checkpoints_in('mine.py', ask))

    return find


def test_the_checkpoints_of_a_config_are_looked_for(checkpoints_of, tmp_path):
    found = checkpoints_of()
    assert found['load_from'].state == 'wrong' and found['load_from'].detail == 'start.pth does not exist'
    gone = found[BACKBONE]
    assert gone.state == 'wrong' and gone.detail == GONE
    assert 'openmmlab.com is gone: write https://mmassets.onedl.ai/mmclassification/v0/resnet/' in gone.fix
    assert gone.fix.endswith('; or, for a backbone, torchvision://resnet50 with prefix=None')
    vision = found['model.neck.init_cfg.checkpoint']
    assert vision.state == 'ok' and vision.detail.endswith('.pth, not checked: use --online')
    assert 'did you mean resnet' in found['model.head.init_cfg.checkpoint'].detail
    (tmp_path / 'start.pth').touch()
    (tmp_path / 'checkpoints').mkdir()
    (tmp_path / 'checkpoints' / GONE.rpartition('/')[2]).touch()
    found = checkpoints_of()
    assert found['load_from'].state == found[BACKBONE].state == 'ok'
    assert f'cached as {tmp_path / "checkpoints"}' in found[BACKBONE].detail


@pytest.mark.parametrize(
    ('answer', 'state', 'said'),
    [
        (None, 'ok', 'available'),
        (HTTPError('', 404, 'Not Found', Message(), None), 'wrong', '404 Not Found'),
        (URLError('no route'), 'missing', 'no connection (no route)'),
        (TimeoutError('timed out'), 'missing', 'no connection (timed out)'),
    ],
)
def test_hosts_are_asked_on_request(checkpoints_of, monkeypatch, answer, state, said):
    asked = []

    def urlopen(request, timeout):
        asked.append((request.get_method(), request.full_url, timeout))
        if answer is not None:
            raise answer
        return io.BytesIO()

    monkeypatch.setattr(doctor, 'urlopen', urlopen)
    found = checkpoints_of(doctor.check_host, 'https://weights.org/a.pth')
    assert asked[0] == ('HEAD', 'https://weights.org/a.pth', doctor.SECONDS)
    assert found[BACKBONE].state == state and found[BACKBONE].detail.endswith(said)
    # One that is gone is not asked.
    asked.clear()
    checkpoints_of(doctor.check_host)
    assert asked and not [url for _, url, _ in asked if 'openmmlab' in url]


def test_a_config_without_checkpoints_or_none_at_all():
    (found,) = checkpoints_in('lfi_vit-128x6-p8_shapes')
    assert found == Finding('ok', 'none', 'the config has no initial checkpoint')
    (found,) = checkpoints_in('mmdet::rtmdet_tiny_8xb32-300e_coco')
    assert found.name == BACKBONE
    (found,) = checkpoints_in('lfi_vit-tny_shapes')
    assert found.state == 'wrong' and 'similar names are' in found.detail


def test_a_config_is_named_on_the_command_line(monkeypatch, capsys, tmp_path):
    (tmp_path / 'mine.py').write_text(CONFIG.format(backbone=GONE))
    monkeypatch.setattr(doctor, 'SECTIONS', {})
    with pytest.raises(SystemExit) as end:
        run_command('doctor', [str(tmp_path / 'mine.py')])
    out = capsys.readouterr().out
    assert end.value.code == 1 and f'Training cannot work: load_from, {BACKBONE}, ' in out
    with pytest.raises(SystemExit, match='2'):
        run_command('doctor', ['--online'])
    assert '--online checks the checkpoints of a config: give a config' in capsys.readouterr().err


@pytest.mark.parametrize(('state', 'code'), [('ok', 0), ('missing', 0), ('wrong', 1)])
def test_the_exit_status_says_whether_training_can_work(state, code, monkeypatch, capsys):
    finding = Finding(state, 'mmdet', 'found', 'what to do')
    monkeypatch.setattr(doctor, 'SECTIONS', {'Packages': lambda: iter([finding])})
    with pytest.raises(SystemExit) as end:
        run_command('doctor', [])
    assert int(end.value.code) == code
    out = capsys.readouterr().out
    assert out.splitlines()[:2] == ['Packages', f'  {state:<8} mmdet              found -> what to do']
    assert ('Training cannot work: mmdet' in out) == (code == 1)


def test_a_terminal_gets_a_table():
    found = {'Packages': [Finding('missing', 'gradio', 'not [installed]', "pip install 'lfi[demo]'")]}
    out = io.StringIO()
    doctor.report(found, Console(file=out, force_terminal=True, width=100))
    text = out.getvalue()
    assert 'not [installed]' in text and "pip install 'lfi[demo]'" in text and '\x1b[' in text
    assert text.endswith('Training can work.\n')
