"""The configs of the repository, and what tests ask about them."""

import ast
from pathlib import Path

import lfi  # noqa: F401
import open_clip
import pytest
from lfi.models.teachers import text_dims_of
from mmengine.config import Config
from mmengine.runner import Runner

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (ROOT / 'configs').rglob('*.py')
    if not any(part.startswith('_') for part in path.relative_to(ROOT).parts)
)
# What lfi eval-teacher reads: a teacher and images, and no student.
TEACHERS = [config for config in CONFIGS if config.startswith('configs/teachers/')]
# What tools/test.py reads: an LFI config with more to measure.
EVALUATION = [config for config in CONFIGS if config.startswith('configs/evaluation/')]
# What tools/test.py reads: a student whose classes are named when it is tested.
ZERO_SHOT = [config for config in CONFIGS if '/zero-shot_' in config]
# What pretrains a backbone without labels, and so has no baseline of the task loss.
PRETRAINING = [config for config in CONFIGS if config.startswith('configs/pretraining/')]
# What needs mmseg, which need not be installed.
SEGMENTATION = [config for config in CONFIGS if 'ade20k' in config]
OTHERS = TEACHERS + EVALUATION + ZERO_SHOT + PRETRAINING + SEGMENTATION
CONFIGS = [config for config in CONFIGS if config not in OTHERS]
# Students that are no ViT, which an adapter asks.
OTHER = ('resnet', 'regnet', 'swin', 'convnext', '_r50', 'rtmdet')
OTHER_BACKBONES = [config for config in CONFIGS if any(name in config for name in OTHER)]
DETECTION = [config for config in CONFIGS if 'rcnn' in config and config not in OTHER_BACKBONES]
CLASSIFICATION = [config for config in CONFIGS if config not in DETECTION + OTHER_BACKBONES]
BASELINES = [config for config in CONFIGS if config.startswith('configs/baselines/')]
METHODS = [config for config in CONFIGS if config not in BASELINES]
# The task loss alone: a student, its data and its schedule, which other configs inherit.
TASK_LOSS = [config for config in BASELINES + SEGMENTATION if '/task-loss_' in config]

# What learning from interactions changes of a model; all else belongs to its baseline too.
LFI_KEYS = {'type', 'task', 'teacher', 'readout', 'supervision'}


def read(config: str) -> Config:
    return Config.fromfile(str(ROOT / config))


def start(cfg: Config, work_dir: Path) -> Runner:
    """The config's Runner with a batch of two and no workers."""
    cfg.work_dir = str(work_dir)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.update(batch_size=2, num_workers=0, persistent_workers=False)
    return Runner.from_cfg(cfg)


def teacher_of(cfg: Config, small_clip: Path) -> dict:
    """The config's teacher where its weights are at hand, a small one of its kind for CLIP's.

    A folder that is not there skips the test.
    """
    teacher = cfg.model.teacher
    if teacher.get('pretrained') is not None:
        assert (teacher.model, teacher.pretrained) in open_clip.list_pretrained()
        assert text_dims_of(teacher) == 512
        teacher.update(model=str(small_clip), pretrained=None)
    elif '/' in teacher.model and not Path(teacher.model).is_dir():
        pytest.skip(f'there is no teacher in {teacher.model} (LFI_TEACHER_ROOT sets the folder)')
    return teacher


def header(config: str) -> str:
    """The comment lines before the code, without their marks; continued lines are joined."""
    lines = []
    for line in (ROOT / config).read_text().splitlines():
        if not line.startswith('#'):
            break
        lines.append(line.removeprefix('#').strip())
    return '\n'.join(lines).replace('\\\n', '')


def bases(config: str) -> list[str]:
    """The configs of the repository from which a config inherits, its own base first."""
    tree = ast.parse((ROOT / config).read_text())
    assigned = [node.value for node in tree.body if isinstance(node, ast.Assign) and _name(node) == '_base_']
    direct = [ast.literal_eval(value) for value in assigned]
    direct = direct[0] if direct and isinstance(direct[0], list) else direct
    found = []
    for base in direct:
        if '::' not in base:
            path = (ROOT / config).parent.joinpath(base).resolve().relative_to(ROOT).as_posix()
            found += [path, *bases(path)]
    return found


def _name(node: ast.Assign) -> str:
    return getattr(node.targets[0], 'id', '')


def baseline_of(config: str) -> str:
    """The config of the task loss alone from which a config inherits."""
    return next(base for base in bases(config) if base in TASK_LOSS)


def model_differences(config: str) -> tuple[dict, dict]:
    """The model of an LFI config and of its baseline, without what is the same by rule and checked here."""
    ours, theirs = read(config).to_dict(), read(baseline_of(config)).to_dict()
    model, plain = ours.pop('model'), theirs.pop('model')
    if config.endswith('-labels.py'):
        # It knows fewer labels.
        assert ours.pop('train_dataloader') != theirs.pop('train_dataloader')
    assert ours == theirs
    assert {'type', *(model.keys() - plain.keys())} <= LFI_KEYS
    parts = dict(model['supervision'])
    assert parts.pop('interactions')['type'] == 'lfi.Interactions'
    assert parts == plain.get('supervision', {})
    return tuple({key: value for key, value in m.items() if key not in LFI_KEYS} for m in (model, plain))
