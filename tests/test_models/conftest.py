"""Small students and teachers with random weights."""

import copy
import json

import open_clip
import pytest
import torch
from lfi.datasets import LoadInteractionMaps
from lfi.models import InteractionQueryViT
from lfi.models.students import student
from lfi.models.teachers import maps_identity
from mmengine.registry import DefaultScope
from safetensors.torch import save_file
from small_detectors import small_detector
from small_students import small_classifier, small_pretrainer
from written_cache import write_cache

STUDENT = dict(
    arch=dict(embed_dims=16, num_layers=4, num_heads=2, feedforward_channels=32),
    img_size=32,
    patch_size=8,
    num_queries=8,
)
TEXT = dict(context_length=16, vocab_size=49408, width=16, heads=2, layers=1)
TEACHERS = {
    'vit': dict(
        embed_dim=24,
        vision_cfg=dict(image_size=32, layers=3, width=32, head_width=8, patch_size=8),
        text_cfg=TEXT,
    ),
    # Trained with a sigmoid for each pair, as SigLIP is.
    'vit_bias': dict(
        embed_dim=24,
        vision_cfg=dict(image_size=32, layers=2, width=32, head_width=8, patch_size=8),
        text_cfg=TEXT,
        init_logit_bias=-3.0,
    ),
    'vit_layer_scale': dict(
        embed_dim=24,
        vision_cfg=dict(image_size=32, layers=2, width=32, head_width=8, patch_size=8, ls_init_value=0.3),
        text_cfg=TEXT,
        quick_gelu=True,
    ),
    'coca': dict(
        embed_dim=24,
        vision_cfg=dict(
            image_size=32,
            layers=2,
            width=32,
            head_width=8,
            patch_size=8,
            attentional_pool=True,
            attn_pooler_queries=6,
            attn_pooler_heads=2,
            output_tokens=True,
        ),
        text_cfg=dict(TEXT, width=24, embed_cls=True, output_tokens=True),
        multimodal_cfg=dict(context_length=16, width=24, heads=2, layers=3),
        custom_text=True,
    ),
    **{
        f'cnn_{name}': dict(
            embed_dim=24,
            vision_cfg=dict(
                timm_model_name=name,
                timm_model_pretrained=False,
                timm_pool='avg',
                timm_proj='linear',
                image_size=64,
            ),
            text_cfg=TEXT,
            custom_text=True,
        )
        for name in ('test_efficientnet', 'test_resnet', 'test_vit', 'test_convnext', 'lcnet_035')
    },
    # The trunk's own classifier projects; it is as wide as the trunk, so that no shape tells them apart.
    'cnn_own_head': dict(
        embed_dim=96,
        vision_cfg=dict(
            timm_model_name='test_resnet',
            timm_model_pretrained=False,
            timm_pool='avg',
            timm_proj=None,
            image_size=64,
        ),
        text_cfg=TEXT,
        custom_text=True,
    ),
}
PREPROCESS = dict(mean=[0.5, 0.4, 0.3], std=[0.2, 0.25, 0.3])


@pytest.fixture
def make_student():
    """A seeded `InteractionQueryViT` of 4 blocks and 8 queries on a 4 x 4 grid, not at its first values."""

    def make(seed=0, **kwargs):
        torch.manual_seed(seed)
        student = InteractionQueryViT(**{**STUDENT, **kwargs})
        for parameter in student.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.3)
        return student

    return make


@pytest.fixture(scope='session')
def teacher_folder(tmp_path_factory):
    """The folder of a seeded random teacher of `TEACHERS`, by name. Do not write into it."""
    folders = {}

    def find(name):
        if name not in folders:
            folders[name] = write_teacher(tmp_path_factory.mktemp('teacher') / name, TEACHERS[name])
        return str(folders[name])

    return find


@pytest.fixture(scope='session')
def make_detector(teacher_folder):
    """`make_detector('mask_rcnn', max_concepts=3, **arguments)` is a seeded `small_detector`."""

    def make(name, max_concepts=3, **arguments):
        with DefaultScope.overwrite_default_scope('mmdet'):
            return small_detector(name, teacher_folder('vit'), max_concepts, **arguments)

    return make


@pytest.fixture(scope='session')
def built_teachers():
    """Those of the small students, by their configs."""
    return {}


@pytest.fixture(scope='module', autouse=True)
def teachers_built_once(built_teachers):
    """A student's teacher that is asked online is built once for each config: its tokenizer takes time."""
    built, build = built_teachers, student.build_teacher

    def once(config, teacher_outputs):
        key = repr(config)
        if config.get('cache') is not None:
            return build(config, teacher_outputs)
        if key not in built:
            with torch.random.fork_rng(devices=[]):
                built[key] = build(config, teacher_outputs)
        # What a test changes of it is its own.
        return copy.copy(built[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(student, 'build_teacher', once)
        yield


@pytest.fixture
def make_classifier(teacher_folder):
    """`make_classifier('vit', **arguments)` is a seeded `small_classifier` with a teacher of `TEACHERS`."""

    def make(vlm='vit', **arguments):
        return small_classifier(teacher_folder(vlm), **arguments)

    return make


@pytest.fixture
def make_pretrainer(teacher_folder):
    """`make_pretrainer(**arguments)` is a seeded `small_pretrainer`."""

    def make(vlm='vit', **arguments):
        return small_pretrainer(teacher_folder(vlm), **arguments)

    return make


@pytest.fixture
def lite0_folder(teacher_root):
    """The folder of a trained teacher with a CNN trunk; skips where it is absent."""
    return str(teacher_root / 'lit-effnet-lite0')


def write_teacher(folder, config, seed=0):
    folder.mkdir(parents=True)
    text = json.dumps(dict(model_cfg=config, preprocess_cfg=PREPROCESS))
    (folder / 'open_clip_config.json').write_text(text)
    torch.manual_seed(seed)
    config = json.loads(text)['model_cfg']
    custom_text = config.pop('custom_text', False)
    kind = open_clip.CustomTextCLIP if custom_text else open_clip.CLIP
    model = (open_clip.CoCa if 'multimodal_cfg' in config else kind)(**config)
    if hasattr(model, 'text_decoder'):
        # open_clip leaves it uninitialised.
        torch.nn.init.normal_(model.text_decoder.text_projection)
    for parameter in model.parameters():
        # Biases and norms start at 0 and 1, which would hide a forgotten one.
        if parameter.ndim == 1:
            parameter.data.add_(torch.randn_like(parameter), alpha=0.1)
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, folder / 'model.safetensors')
    return folder


@pytest.fixture
def cache_of(tmp_path):
    """Writes the maps of a model's teacher into a cache in `tmp_path`, and reads it into the samples."""

    def write(model, samples, maps):
        paths, texts = [sample.img_path for sample in samples], model.teacher.text_embeddings.numpy()
        write_cache(tmp_path, maps_identity(model.teacher_cfg), paths, texts, maps)
        read = LoadInteractionMaps(str(tmp_path))
        for sample in samples:
            sample.set_field(read(dict(img_path=sample.img_path))['interaction_maps'], 'interaction_maps')

    return write
