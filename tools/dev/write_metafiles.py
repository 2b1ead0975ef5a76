"""Write model-index.yml, the configs' metafiles, docs/model_zoo.md and the arms in research/results.md.

    python -m tools.dev.write_metafiles

Parameters and FLOPs are counted on the models. Accuracies come from research/published, which
`python -m research study` writes. A config without a study has no accuracy.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lfi  # noqa: F401
import torch
import yaml
from lfi.engine import launch
from lfi.errors import UsageError
from lfi.export.slim_student import REMOVABLE_PREFIXES
from lfi.models.backbones import InteractionQueryViT
from lfi.utils import markdown
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from timm.layers import to_2tuple
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from research.studies import mean_and_spread, metric_name
from research.studies.arms import ARMS, Arm, arms_table
from research.studies.domains import DomainStudy
from research.studies.job import read_config
from research.studies.presets import PRESETS
from research.studies.published import put_section, read_published

ROOT = Path(__file__).resolve().parents[2]

TASKS = {
    'classification': 'Image Classification',
    'baselines': 'Image Classification',
    'detection': 'Instance Segmentation',
    'pretraining': 'Image Classification',
    'domain_generalization': 'Domain Generalization',
    'segmentation': 'Semantic Segmentation',
}
DETECTORS = {'rcnn': 'Instance Segmentation', 'rtmdet': 'Object Detection', 'detr': 'Object Detection'}
DEFAULT_SIZE = 224
"""Image size for FLOPs if neither the backbone nor the data sets it."""
SIZES = {'built-in Shapes': 64, 'Tiny-ImageNet, 20 classes': 64}
"""Image sizes of data sets with a fixed size."""
FEW_LABELS = 'train_dataloader.few_labels'
PAPER = dict(Title='Knowledge Transfer from Interaction Learning', Year='ICCV 2025')
DATA = {
    'tiny-imagenet-20': 'Tiny-ImageNet, 20 classes',
    'tiny-imagenet-50': 'Tiny-ImageNet, 50 classes',
    'tiny-imagenet': 'Tiny-ImageNet',
    'imagenet': 'ImageNet-1k',
    'coco': 'COCO',
    'ade20k': 'ADE20K',
    'pacs': 'PACS',
    'vlcs': 'VLCS',
    'shapes': 'built-in Shapes',
    'folder': 'any folder of images',
}


@dataclass(frozen=True)
class Entry:
    """Config in the model zoo.

    Args:
        config: path of the config.
        data: name of the training data.
        epochs: number of epochs; None if the schedule counts iterations.
        size: height and width of the images, in pixels.
        parameters: number of parameters for prediction, without read-out and teacher.
        flops: FLOPs of the backbone for one image; a multiply-add counts as two.
        results: mean and spread of each metric, by data.
    """

    config: str
    data: str
    epochs: int | None
    size: tuple[int, int]
    parameters: int
    flops: int
    results: dict[str, dict[str, str]]

    @property
    def folder(self) -> str:
        """Folder of the metafile."""
        return Path(self.config).parts[1]

    def metafile(self) -> dict:
        """Return the entry in the format of OpenMMLab's metafiles."""
        task = next((task for name, task in DETECTORS.items() if name in self.config), TASKS[self.folder])
        metadata = {
            'Training Data': self.data,
            'Parameters': self.parameters,
            'Backbone FLOPs': self.flops,
            'Epochs': self.epochs,
        }
        metadata = {key: value for key, value in metadata.items() if value is not None}
        results = [dict(Task=task, Dataset=data, Metrics=metrics) for data, metrics in self.results.items()]
        return {
            'Name': Path(self.config).stem,
            'In Collection': 'LFI',
            'Config': self.config,
            'Metadata': metadata,
            # Empty metrics mean that no study has run the config.
            'Results': results or [dict(Task=task, Dataset=self.data, Metrics={})],
        }

    def row(self) -> list[str]:
        """Return the row of the zoo's table."""
        # Several studies are told apart by name.
        names = {data: f', {data}' if len(self.results) > 1 else '' for data in self.results}
        accuracies = '; '.join(
            f'{value} ({key}{names[data]})' for data, m in self.results.items() for key, value in m.items()
        )
        name = f'[{Path(self.config).stem}](../{self.config})'
        size = 'x'.join(map(str, self.size))
        cells = [name, self.data, size, f'{self.parameters / 1e6:.2f}', f'{self.flops / 1e9:.2f}']
        return [*cells, str(self.epochs or '–'), accuracies or '–']


def configs() -> Iterator[str]:
    """Yield the paths of configs that train a model, except the entry: it equals one in `detection/`."""
    for path in sorted((ROOT / 'configs').rglob('*.py')):
        name = path.relative_to(ROOT)
        trains = not name.name.startswith('zero-shot_') and name.parts[1] in TASKS
        if trains:
            yield name.as_posix()


def read_entry(config: str, results: dict[str, dict[str, dict[str, str]]]) -> Entry:
    """Build the config's student, and count its parameters and FLOPs."""
    stem = Path(config).stem
    data = next(label for key, label in DATA.items() if re.search(rf'(^|[_-]){key}(_|-|$)', stem))
    cfg = Config.fromfile(ROOT / config)
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    model = MODELS.build({**cfg.model, 'data_preprocessor': None}).eval()
    # Weights that only training and answers use.
    unused = (*REMOVABLE_PREFIXES, 'backbone.interaction.')
    parameters = sum(p.numel() for name, p in model.named_parameters() if not name.startswith(unused))
    size = to_2tuple(getattr(model.backbone, 'img_size', SIZES.get(data, DEFAULT_SIZE)))
    # Modules on the meta device compute nothing.
    backbone = model.backbone.to('meta')
    with FlopCounterMode(display=False) as counter:
        backbone(torch.zeros(1, 3, *size, device='meta'))
    epochs = cfg.train_cfg.get('max_epochs')
    return Entry(config, data, epochs, size, parameters, counter.get_total_flops(), results.get(config, {}))


def read_results() -> dict[str, dict[str, dict[str, str]]]:
    """Read the results of each config: mean and spread over the seeds, by study and metric."""
    results: dict[str, dict[str, dict[str, str]]] = {}

    def put(config: str, study: str, metric: str, values: Sequence[float]) -> None:
        metrics = results.setdefault(config, {}).setdefault(f'study {study}', {})
        metrics[metric_name(metric)] = f'{mean_and_spread(values)}, n={len(values)}'

    for name, preset in PRESETS.items():
        # Tuning and few-label studies train with other settings than the configs.
        if name.endswith('-tuning') or any(option.startswith(FEW_LABELS) for option in preset.options):
            continue
        trained = {arm.name: _config_trained_by(arm) for arm in preset.arms}
        arms = {arm: config for arm, config in trained.items() if config is not None}
        for metric, cells in zip(preset.metrics, read_published(preset, name, ROOT)):
            by_arm = {arm: [cell for key, cell in cells.items() if key[0] == arm] for arm in arms}
            by_arm = {arm: arm_cells for arm, arm_cells in by_arm.items() if arm_cells}
            if preset.leaves_domains_out and by_arm:
                # There is no mean yet if the arms share no domain or no seed.
                for mean in (row for row in DomainStudy(by_arm).rows() if row['domain'] == 'mean'):
                    for arm in by_arm:
                        put(arms[arm], 'dg, each domain left out', metric, mean['accuracy'][arm])
            elif by_arm:
                for arm in by_arm.keys() & arms.keys():
                    tests = [cell.test for cell in sorted(by_arm[arm], key=lambda cell: cell.seed)]
                    put(arms[arm], f'{name}, test images', metric, tests)
    return results


def _config_trained_by(arm: Arm) -> str | None:
    """Return the config that equals an arm, or None if the arm's options or schedule differ from all configs.

    A baseline defined by options of the method may also have its own config with the same content.
    """
    if arm.epochs:
        return None
    if not (arm.options or (arm.name in ARMS and ARMS[arm.name].base)):
        return arm.config
    student = Path(arm.config).stem.partition('_')[2]
    baseline = f'configs/baselines/{arm.name}_{student}.py'
    if not (ROOT / baseline).is_file():
        return None
    of_arm, of_baseline = read_config(arm.config, arm.options), read_config(baseline)
    same = _essentials(of_arm.to_dict()) == _essentials(of_baseline.to_dict())
    return baseline if same else None


def _essentials(config: Any) -> Any:
    """Remove what two equal trainings may write differently: None, and the width of the teacher's features.

    Options switch parts off by None. A config without `teacher_dims` reads the width from its teacher.
    """
    if isinstance(config, dict):
        kept = {name: value for name, value in config.items() if value is not None and name != 'teacher_dims'}
        return {name: _essentials(value) for name, value in kept.items()}
    return [_essentials(value) for value in config] if isinstance(config, list | tuple) else config


def zoo(entries: list[Entry]) -> str:
    """Write the page of the model zoo, with a table for each folder of configs."""
    lines = [
        '# Model zoo',
        '',
        'Written by `tools/dev/write_metafiles.py`. Parameters are those for prediction, without '
        "teacher, read-out and distillation heads. FLOPs are the backbone's for one image of the given "
        'size; a multiply-add counts as two. Detectors with varying image sizes are counted at '
        f'{DEFAULT_SIZE}x{DEFAULT_SIZE}. Epochs are those of the data loader; the `100e-lsj` recipes '
        'repeat their data four times in each epoch. Accuracies are mean ± standard deviation over n '
        'seeds, from the studies in [results.md](../research/results.md), which has the comparisons. PACS '
        'and VLCS are parts of these data sets, with one domain left out (`domain/mean`) or zero-shot '
        '(`pacs/`, `vlcs/`). "–" means that no study with all labels has run the config unchanged. We '
        'publish no weights. A `task-loss` config defines the student, data and schedule that the other '
        'configs of its student inherit.',
    ]
    for folder in dict.fromkeys(entry.folder for entry in entries):
        lines += ['', f'## {folder}', '']
        titles = 'config', 'data', 'pixels', 'parameters, M', 'backbone, GFLOPs', 'epochs', 'accuracy'
        lines.append(markdown.table(titles, [entry.row() for entry in entries if entry.folder == folder]))
    return '\n'.join(lines) + '\n'


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    if find_spec('mmseg') is None:
        raise UsageError("the segmentors' sizes need mmsegmentation: pip install 'lfi[segmentation]'")
    results = read_results()
    # Without data, configs count the classes of the complete data sets.
    with TemporaryDirectory() as empty:
        os.environ['LFI_DATA_ROOT'] = empty
        entries = [read_entry(config, results) for config in tqdm(list(configs()))]
    folders = list(dict.fromkeys(entry.folder for entry in entries))
    architecture = dict(Architecture=[InteractionQueryViT.__name__, 'InteractionQueryAdapter'])
    collection = dict(Name='LFI', Paper=PAPER, README='README.md', Metadata=architecture)
    for i, folder in enumerate(folders):
        content = dict(Collections=[collection]) if i == 0 else {}
        content['Models'] = [entry.metafile() for entry in entries if entry.folder == folder]
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)
        (ROOT / 'configs' / folder / 'metafile.yml').write_text(text)
    index = dict(Import=[f'configs/{folder}/metafile.yml' for folder in folders])
    (ROOT / 'model-index.yml').write_text(yaml.safe_dump(index))
    (ROOT / 'docs/model_zoo.md').write_text(zoo(entries))
    put_section(ROOT / 'research/results.md', 'arms', arms_table())
    print(f'{len(entries)} configs in {len(folders)} metafiles, and docs/model_zoo.md')


if __name__ == '__main__':
    launch.run(main)
