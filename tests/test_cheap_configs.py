"""Configs that are evaluated once are read as if they were evaluated each time."""

from mmengine.config import Config


def test_what_a_reader_changes_no_other_reads(config_path):
    first, second = (
        Config._file2dict(str(config_path('classification/lfi_vit-128x6-p8_shapes.py')))[0] for _ in range(2)
    )
    assert first == second
    first['model']['backbone'].clear()
    assert second['model']['backbone']


def test_a_config_is_that_of_its_environment(config_path, monkeypatch):
    config = config_path('domain_generalization/lfi_vit-128x6-p8_shapes-domains.py')
    for domain in ('photo', 'cartoon'):
        monkeypatch.setenv('LFI_TARGET_DOMAIN', domain)
        assert Config.fromfile(config).target_domain == domain
