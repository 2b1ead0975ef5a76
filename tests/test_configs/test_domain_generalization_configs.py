"""Configs that leave a domain out, and those that name the classes when the student is tested."""

import re

import pytest
from lfi.datasets import PACS, VLCS, Shapes
from lfi.models import ByTexts, Student
from mmengine.registry import DATASETS
from mmengine.runner import Runner
from repository_configs import CLASSIFICATION, ZERO_SHOT, header, read

DOMAINS_OF = {'pacs': PACS.DOMAINS, 'vlcs': VLCS.DOMAINS, 'shapes-domains': Shapes.DOMAINS}
LEAVE_ONE_OUT = [
    config for config in CLASSIFICATION if config.rsplit('_', 1)[1].removesuffix('.py') in DOMAINS_OF
]


def available_domains(config):
    return DOMAINS_OF[config.rsplit('_', 1)[1].removesuffix('.py')]


def test_configs_are_found():
    assert LEAVE_ONE_OUT and ZERO_SHOT


@pytest.mark.parametrize('config', LEAVE_ONE_OUT)
def test_the_target_domain_is_left_out_of_training_and_of_the_choice_of_the_epoch(
    config, small_data, monkeypatch
):
    first, *_, last = available_domains(config)
    for target in (first, last):
        monkeypatch.setenv('LFI_TARGET_DOMAIN', target)
        cfg = read(config)
        others = [domain for domain in available_domains(config) if domain != target]
        assert cfg.target_domain == target
        assert cfg.source_domains == others
        for loader, domains in (('train', others), ('val', others), ('test', [target])):
            data = DATASETS.build(dict(cfg[f'{loader}_dataloader'].dataset, _scope_='mmpretrain'))
            assert list(data.domains) == domains
            assert data[0]['data_samples'].domain in domains
        hook = cfg.default_hooks.checkpoint
        assert (hook.save_best, hook.rule) == ('domain/mean', 'greater')


@pytest.mark.parametrize('config', LEAVE_ONE_OUT)
def test_an_unknown_target_is_named_at_once(config, empty_root, monkeypatch):
    monkeypatch.setenv('LFI_TARGET_DOMAIN', 'woodcut')
    with pytest.raises(ValueError, match="target_domain='woodcut' is unknown"):
        read(config)


@pytest.mark.parametrize('config', ZERO_SHOT)
def test_zero_shot_tests_all_domains(config, small_data, small_clip, tmp_path):
    assert re.search(rf'tools/test\.py +{re.escape(config)} CHECKPOINT$', header(config), re.M)
    cfg = read(config)
    assert cfg.model.predict_by.templates == ['a photo of a {}.']
    cfg.model.teacher.update(model=str(small_clip), pretrained=None)
    cfg.work_dir = str(tmp_path)
    cfg.test_dataloader.update(num_workers=0, persistent_workers=False)
    runner = Runner.from_cfg(cfg)
    assert isinstance(runner.model, Student) and isinstance(runner.model.predict_by, ByTexts)
    # Whoever counts the classes goes by the named ones.
    metrics = runner.test()
    assert set(metrics) == {f'domain/{name}' for name in (*available_domains(config), 'mean', 'worst')}
