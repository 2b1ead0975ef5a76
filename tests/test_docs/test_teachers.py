"""The pages about teachers: their configs, extractor and model work as they stand; their families are all."""

import inspect
import re
from collections import Counter
from pathlib import Path

import open_clip
import pytest
import torch
from lfi.models import Interactions, VLMAttentionTeacher
from lfi.models.teachers import teacher_identity
from lfi.models.teachers.families import family_of
from lfi.registry import EXTRACTORS, VLMS
from lfi.structures import PixelFormat

ROOT = Path(__file__).parents[2]
DOCS, APPENDIX = ROOT / 'docs/teachers.md', ROOT / 'research/teachers.md'


@pytest.fixture
def shown(monkeypatch):
    """The code of the page's examples that register something, run."""
    for registry in (EXTRACTORS, VLMS):
        monkeypatch.setattr(registry, '_module_dict', dict(registry.module_dict))
    _, *codes = re.findall(r'```python\n(.*?)```', DOCS.read_text(), re.S)
    assert len(codes) == 2
    namespace = {}
    for code in codes:
        exec(compile(code, str(DOCS), 'exec'), namespace)
    return namespace


def test_the_generative_teacher_has_options_that_exist():
    code, *_ = re.findall(r'```python\n(.*?)```', DOCS.read_text(), re.S)
    namespace = {}
    exec(code, namespace)
    model = namespace['model']
    teacher_identity(model['teacher'])
    options = {key: value for key, value in model['teacher']['extractor'].items() if key != 'type'}
    inspect.signature(EXTRACTORS.get('generative')).bind('vlm', 'bank', **options)
    part = {key: value for key, value in model['supervision']['interactions'].items() if key != 'type'}
    Interactions(**part).reading.check(EXTRACTORS.get('generative').directions)


@torch.no_grad()
def test_the_extractor_of_thirty_lines_is_sclip(shown):
    EXTRACTORS.get('sclip')
    teacher = VLMAttentionTeacher(
        'ViT-B-32', extractor=dict(type='sclip'), concepts=['cat', 'dog'], allow_random=True
    )
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    maps = teacher(images, PixelFormat((0.0,) * 3, (1.0,) * 3, rgb=True)).check()
    assert maps.logits.shape == (1, 1, 2, 7, 7)

    # By its formula, head by head, from the tokens that enter the last block.
    visual = teacher.visual
    seen = teacher._prepare(images, PixelFormat((0.0,) * 3, (1.0,) * 3, rgb=True), None)
    tokens = []
    block = visual.transformer.resblocks[-1]
    hook = block.register_forward_pre_hook(lambda module, args: tokens.append(args[0]))
    visual(seen)
    hook.remove()
    normed = block.ln_1(tokens[0])
    weight, bias = block.attn.in_proj_weight.chunk(3), block.attn.in_proj_bias.chunk(3)
    q, k, v = ((normed @ w.T + b).chunk(block.attn.num_heads, -1) for w, b in zip(weight, bias))
    heads = [((a @ a.mT / 8).softmax(-1) + (b @ b.mT / 8).softmax(-1)) @ c for a, b, c in zip(q, k, v)]
    x = tokens[0] + block.attn.out_proj(torch.cat(heads, -1))
    x = (x + block.mlp(block.ln_2(x)))[:, 1:]
    locations = torch.nn.functional.normalize(visual.ln_post(x) @ visual.proj, dim=-1)
    expected = teacher.logit_scale * (locations @ teacher.text_embeddings.T).mT.view(1, 1, 2, 7, 7)
    torch.testing.assert_close(maps.logits, expected, rtol=1e-3, atol=1e-3)


@torch.no_grad()
def test_the_model_of_thirty_lines_points_at_colours(shown):
    teacher = VLMAttentionTeacher(
        dict(type='ColourEncoder'),
        extractor=dict(type='own-locations'),
        concepts=['red ball', 'blue sky', 'green grass'],
    )
    images = torch.zeros(1, 3, 32, 32)
    images[:, 0, :8, 8:16] = 255  # red, in the first row of cells and the second column
    images[:, 2, 16:] = 255  # blue, the lower half
    maps = teacher(images, PixelFormat((0.0,) * 3, (1.0,) * 3, rgb=True)).check()
    red, blue, green = maps.logits[0, 0]
    assert red.flatten().argmax() == 1 and red[0, 1] == teacher.logit_scale
    assert (blue[2:] == teacher.logit_scale).all() and not blue[:2].any() and not green.any()
    assert maps.presence[0].argmax() == 1


def test_the_configs_have_options_that_exist(shown):
    teachers = [
        code for code in re.findall(r'```py\n(.*?)```', DOCS.read_text(), re.S) if 'teacher=dict' in code
    ]
    assert len(teachers) == 2
    for code in teachers:
        namespace = {}
        exec(code, namespace)
        teacher_identity(namespace['model']['teacher'])


def test_the_readings_are_those_that_interactions_have():
    page = DOCS.read_text()
    (code,) = (code for code in re.findall(r'```py\n(.*?)```', page, re.S) if 'reading=dict' in code)
    namespace = {}
    exec(code, namespace)
    Interactions(**namespace['model']['supervision']['interactions'])
    options = {
        'spatial_reading': ['logits', 'concept_softmax'],
        'presence': ['image', 'best-location', 'label'],
    }
    shown = re.findall(r"^\| (?:`\w+`)? ?\| `'([\w-]+)'`", page, re.M)
    assert shown == [value for values in options.values() for value in values]
    for option, values in options.items():
        for value in values:
            Interactions(reading={option: value})
    default = Interactions().reading
    assert (default.spatial_reading, default.presence) == ('logits', 'image')


@pytest.mark.parametrize(('page', 'width'), [(DOCS, 4), (APPENDIX, 6)], ids=['docs', 'research'])
def test_the_table_of_families_is_what_open_clip_lists(page, width):
    rows = [[cell.strip() for cell in row.split('|')[1:-1]] for row in page.read_text().splitlines()]
    shown = {row[0]: row[1:] for row in rows if len(row) == width and re.fullmatch(r'`.+`, `.+`', row[2])}
    tags = open_clip.list_pretrained()
    families = Counter(family_of(open_clip.get_model_config(model)) for model, _ in tags)
    assert {name: int(row[0]) for name, row in shown.items()} == {
        family.name: count for family, count in families.items()
    }
    for family in families:
        _, example, *pool, auto = shown[family.name][: min(width - 1, 4)]
        model, tag = (part.strip('`') for part in example.split(', '))
        assert (model, tag) in tags and family_of(open_clip.get_model_config(model)) == family
        assert auto == f'`{family.extractors[0]}`' and pool in ([], [family.pool])


def test_the_shapes_teacher_knows_fewer_of_mirrored_images(capsys):
    (code,) = re.findall(r'```py\n(.*?)```', APPENDIX.read_text(), re.S)
    exec(code.replace('num_images=1000', 'num_images=100'), {})
    as_they_are, mirrored = map(float, re.findall(r': ([\d.]+)%', capsys.readouterr().out))
    assert mirrored + 10 < as_they_are
