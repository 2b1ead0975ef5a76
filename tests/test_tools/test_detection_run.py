"""The Shapes detector, run by the tools as a user runs it."""

import re
from pathlib import Path

CONFIG = Path(__file__).resolve().parents[2] / 'configs/detection/lfi_mask-rcnn_vit-128x6-p8_shapes.py'
FEW_IMAGES = (
    'train_cfg.max_epochs=1',
    'train_dataloader.dataset.num_images=16',
    'train_dataloader.batch_size=8',
    'train_dataloader.num_workers=0',
    'val_dataloader.dataset.num_images=4',
    'val_dataloader.num_workers=0',
    'test_dataloader.dataset.num_images=4',
    'test_dataloader.num_workers=0',
    'default_hooks.logger.interval=1',
    'model.train_cfg.rcnn.sampler.num=16',
)


def precision(output: str, stage: str) -> list[str]:
    """Box and mask AP as they are printed last."""
    line = [line for line in output.splitlines() if re.search(rf'Epoch\({stage}\).*mAP', line)][-1]
    return re.findall(r'(?:bbox|segm)_mAP: ([-\d.]+)', line)


def test_it_trains_tests_alike_and_draws(run_tool, tmp_path):
    work, shown = tmp_path / 'work', tmp_path / 'shown'
    options = ('--work-dir', work, '--cfg-options', *FEW_IMAGES)
    trained = run_tool('train.py', CONFIG, *options)
    steps = [line for line in trained.splitlines() if 'Epoch(train)' in line]
    assert len(steps) == 2
    for name in ('loss_mask', 'loss_spatial', 'loss_semantic', 'loss_presence'):
        assert all(re.search(rf'{name}: \d+\.\d+', line) for line in steps)

    tested = run_tool('test.py', CONFIG, work / 'epoch_1.pth', '--show-dir', shown, *options)
    assert len(precision(tested, 'test')) == 2
    assert precision(tested, 'test') == precision(trained, 'val')
    pictures = [path.relative_to(shown) for path in shown.rglob('*.png')]
    assert sorted(path.name for path in pictures if path.parent.name == 'interactions') == [
        f'0_0_{i}_{i}.png' for i in range(4)
    ]
