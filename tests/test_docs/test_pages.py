"""The pages in docs/: their code runs as it stands there, their commands and links lead somewhere."""

import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import torch
from lfi import teacher_config
from lfi.cli.main import parser_of
from lfi.engine.pipelines import check_pipelines
from lfi.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from tar_files import write_shapes_tars

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md')), *sorted((ROOT / 'research').glob('*.md'))]
# Not of what was there once.
CURRENT = [page for page in PAGES if page.name != 'changelog.md']
# Their code is run by a test of their own, or is a config.
ELSEWHERE = (
    'teachers.md',
    'semantic_consistency.md',
    'your_model.md',
    'few_labels.md',
    'scaling.md',
    'README.md',
)


def blocks(page: Path, *languages: str) -> list[str]:
    found = re.findall(r'^```(\w+)\n(.*?)^```', page.read_text(), re.S | re.M)
    return [code for language, code in found if language in languages]


@pytest.mark.parametrize(
    'page', [p for p in PAGES if blocks(p, 'python') and p.name not in ELSEWHERE], ids=lambda p: p.name
)
def test_python_runs(page, warm_python, tmp_path):
    script = tmp_path / 'page.py'
    script.write_text('\n'.join(blocks(page, 'python')))
    process = warm_python.run([script], tmp_path)
    assert process.returncode == 0, process.stdout


# The pages show parts of configs, too.
@pytest.mark.parametrize(
    'code',
    [
        code
        for page in ('your_model.md', 'few_labels.md')
        for code in blocks(ROOT / 'docs' / page, 'python')
        if '_base_' in code
    ],
)
def test_configs_are_parsed(code, tmp_path):
    # In place of a config of `lfi init`.
    (tmp_path / 'my.py').write_text("_base_ = 'lfi::classification/lfi_resnet50_clip-b16_imagenet.py'")
    (tmp_path / 'config.py').write_text(code)
    cfg = Config.fromfile(tmp_path / 'config.py')
    check_pipelines(cfg)
    assert cfg.model.type == 'lfi.Student'
    assert cfg.model.backbone.type in ('lfi.InteractionQueryViT', 'lfi.InteractionQueryAdapter')
    assert cfg.model.teacher.type == 'lfi.VLMAttentionTeacher'
    assert cfg.model.supervision.interactions.type == 'lfi.Interactions'


def test_a_detector_of_mmdet_learns_by_the_config_that_the_page_shows(tmp_path):
    (code,) = (block for block in blocks(ROOT / 'docs/extend.md', 'py') if '_base_' in block)
    (tmp_path / 'config.py').write_text(code)
    cfg = Config.fromfile(tmp_path / 'config.py')
    check_pipelines(cfg)
    cfg.model.teacher = teacher_config('shapes-tiny', concepts=dict(type='mmdet.CocoDataset'))
    cfg.model.backbone.backbone.init_cfg = None
    cfg.model.backbone.probe_size = 64
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(cfg.model)
    images = [torch.zeros(3, 64, 96, dtype=torch.uint8)]
    boxes = InstanceData(bboxes=torch.tensor([[8.0, 8, 40, 40]]), labels=torch.tensor([0]))
    sample = DetDataSample(gt_instances=boxes, metainfo=dict(img_shape=(64, 96)))
    data = model.data_preprocessor(dict(inputs=images, data_samples=[sample]), True)
    losses = model.loss(**data)
    assert {'loss_cls', 'loss_spatial', 'loss_semantic', 'loss_presence'} <= losses.keys()


def test_a_classifier_trains_on_tar_shards_by_the_config_that_the_page_shows(call_tool, tmp_path):
    pytest.importorskip('webdataset')
    (code,) = blocks(ROOT / 'docs/scaling.md', 'python')
    (tmp_path / 'page.py').write_text(code)
    write_shapes_tars(tmp_path, tars=2, images=1)
    # A small teacher, and a few steps.
    (tmp_path / 'config.py').write_text("""
_base_ = 'page.py'
teacher = __import__('lfi').teacher_config('shapes-tiny', concepts=['cat', 'dog'])
model = dict(teacher=dict(_delete_=True, **teacher))
""")
    options = [
        f'train_dataloader.dataset.urls={tmp_path}/train-{{0..1}}.tar',
        'train_dataloader.batch_size=2',
        'train_dataloader.num_workers=0',
        'train_cfg.max_iters=2',
        'default_hooks.logger.interval=1',
    ]
    printed = call_tool(
        'train', tmp_path / 'config.py', '--work-dir', tmp_path / 'run', '--cfg-options', *options
    )
    assert re.search(r'Iter\(train\) +\[2/2\].* loss_spatial: [\d.]+', printed)
    assert 'iter_2.pth' in (tmp_path / 'run/last_checkpoint').read_text()


@cache
def options_of(tool: Path) -> set[str]:
    """The options of a script, which may be those of a command."""
    text = tool.read_text()
    command = re.search(r"run_command\('([\w-]+)'", text) or re.search(r'-m lfi (\w+)', text)
    if command is not None:
        parser = parser_of(command[1])
        for add in [*parser.variants.values()][-1:]:
            # The last target of an export is that of `publish_model.py`.
            add(parser)
        return set(parser.options)
    if tool.suffix == '.sh':
        # It passes on what it does not know.
        return options_of(ROOT / f'tools/{re.search("(train|test)", tool.name)[1]}.py')
    shared = [tool.with_name('pairs.py')] if tool.parent.name == 'benchmarks' else []
    shared.append(ROOT / 'projects/lfi/cli/arguments.py')
    return set(re.findall(r"'(--[\w-]+)'", text + ''.join(part.read_text() for part in shared)))


@pytest.mark.parametrize('page', CURRENT, ids=lambda p: p.name)
def test_commands_name_tools_options_and_configs_that_exist(page):
    code = blocks(page, 'bash', 'console') + re.findall(
        r'(?<!`)`((?:[A-Z_]+=\S+ )*(?:python |tools/)[^`\n]*)`', page.read_text()
    )
    for line in '\n'.join(code).replace('\\\n', ' ').splitlines():
        words = shlex.split(line, comments=True)
        tool = next((w for w in words if re.fullmatch(r'(tools|benchmarks)/\S+\.(py|sh)', w)), None)
        if tool is None:
            continue
        assert (ROOT / tool).is_file(), line
        for word in words[words.index(tool) + 1 :]:
            if word.startswith('--'):
                assert word.partition('=')[0] in options_of(ROOT / tool), line
            if word.startswith('configs/') and '*' not in word and '{' not in word:
                assert (ROOT / word).exists(), line


# Wherever the repository is hosted, its pages of workflows are two folders above README.md's.
WORKFLOW = re.compile(r'\.\./\.\./actions/workflows/([\w-]+\.yml)(/badge\.svg)?')


@pytest.mark.parametrize('page', PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r'\]\(([^)\s]+)\)', page.read_text()):
        if page.name == 'README.md' and (workflow := WORKFLOW.fullmatch(target)):
            assert (ROOT / '.github/workflows' / workflow[1]).is_file(), target
        elif not target.startswith('http'):
            path, _, anchor = target.partition('#')
            linked = page.parent / path if path else page
            assert linked.exists(), target
            if anchor:
                titles = re.findall(r'^#+ (.*)$', linked.read_text(), re.M)
                assert anchor in [re.sub(r'[^\w -]', '', t.lower()).replace(' ', '-') for t in titles], target
