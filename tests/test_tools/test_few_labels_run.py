"""A training with few labels by the tools, from a cache that serves any number of them."""

import json
import re

CONFIG = 'classification/lfi_vit-128x6-p8_shapes.py'
SMALL = [
    'train_cfg.max_epochs=2',
    'train_dataloader.dataset.num_images=60',
    'train_dataloader.batch_size=20',
    'train_dataloader.num_workers=0',
    'val_dataloader.dataset.num_images=20',
    'val_dataloader.num_workers=0',
    'default_hooks.logger.interval=1',
    'model.teacher.max_concepts=4',
]
FEW = 'train_dataloader.few_labels'


def test_a_cache_serves_all_choices_of_labels(run_tool, config_path, tmp_path):
    config, out = config_path(CONFIG), ('--out', 'cache', '--num-workers', '0')
    run_tool('cache', config, *out, '--cfg-options', *SMALL, f'{FEW}.labels_per_class=2')
    choice = [f'{FEW}.labels_per_class=1', f'{FEW}.seed=5', 'model.teacher.cache=cache']
    printed = run_tool('train.py', config, '--work-dir', 'work', '--cfg-options', *SMALL, *choice)
    # 40 images without a label, and as many with one.
    assert re.search(r'Epoch\(train\) \[2\]\[4/4\].* loss_spatial: [\d.]+', printed)
    assert "type='lfi.FewLabels'" in next(tmp_path.glob('work/*.py')).read_text()
    run_tool('train.py', config, '--work-dir', 'all', '--cfg-options', *SMALL, choice[-1])


def test_a_model_that_would_learn_from_hidden_labels_is_an_error_of_one_line(run_tool, config_path):
    out = run_tool(
        *('train.py', config_path('baselines/task-loss_vit-128x6-p8_shapes.py'), '--cfg-options'),
        *(f'{FEW}.labels_per_class=1', 'model.type=mmpretrain.ImageClassifier'),
        code=1,
    )
    assert out.splitlines()[-1].startswith("error: model.type='mmpretrain.ImageClassifier' would learn from")


def test_without_labels_a_student_is_validated_and_tested_by_text(run_tool, config_path, tmp_path):
    by_text = ['model.predict_by.type=lfi.ByTexts', 'train_cfg.max_epochs=1']
    printed = run_tool(
        *('train.py', config_path(CONFIG), '--work-dir', 'work', '--cfg-options'),
        *(*SMALL, *by_text, f'{FEW}.labels_per_class=0'),
    )
    assert re.search(r'Epoch\(train\) \[1\]\[3/3\].* loss_cls: 0\.0000 .*loss_presence: [\d.]+', printed)
    (validated,) = re.findall(r'Epoch\(val\) \[1\].*accuracy/top1: ([\d.]+)', printed)
    out = ('--out', 'metrics.json', '--out-item', 'metrics')
    small = ['test_dataloader.dataset.num_images=20', 'test_dataloader.num_workers=0']
    checkpoint = tmp_path / 'work/epoch_1.pth'
    run_tool('test.py', config_path(CONFIG), checkpoint, *out, '--cfg-options', *by_text, *small)
    # The text tower's embeddings are those of the teacher that was there in training.
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    assert f'{metrics["accuracy/top1"]:.4f}' == validated
    # The head of another student is measured by its class activation maps.
    measured = [*small, 'model.predict_by.type=lfi.ByClassActivation']
    config = config_path('evaluation/lfi_vit-128x6-p8_shapes_semantic-consistency.py')
    run_tool('test.py', config, checkpoint, *out, '--cfg-options', *measured)
    metrics = json.loads((tmp_path / 'metrics.json').read_text())
    assert 0 <= metrics['semantic/pointing'] <= 1 and 'accuracy/top1' in metrics
