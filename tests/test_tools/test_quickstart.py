import re


def test_quickstart_trains_both_arms_and_writes_table_and_picture(run_tool, tmp_path):
    options = [
        'train_cfg.max_epochs=1',
        'train_dataloader.dataset.num_images=64',
        'train_dataloader.batch_size=32',
        'train_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False',
        'val_dataloader.dataset.num_images=40',
        'val_dataloader.num_workers=0',
        'val_dataloader.persistent_workers=False',
        'default_hooks.logger.interval=1',
    ]
    out = run_tool('quickstart.py', '--work-dir', tmp_path, '--cfg-options', *options)
    assert re.search(r'^\| task-loss \| [\d.]+ \|', out, re.M)
    assert re.search(r'^\| lfi \| [\d.]+ \|', out, re.M)
    assert (tmp_path / 'report.png').read_bytes().startswith(b'\x89PNG')
