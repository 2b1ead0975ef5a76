"""Small image towers of each family, built by their authors' classes, with random values everywhere."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from open_clip.modified_resnet import ModifiedResNet
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer as OpenClipVisionTransformer
from timm.layers import HybridEmbed
from timm.models import register_model
from timm.models.convnext import ConvNeXt
from timm.models.eva import Eva
from timm.models.fastvit import FastVit, RepConditionalPosEnc
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import ConvStem
from timm.models.vitamin import GeGluMlp, MbConvStages, VitCfg
from torch import nn

VIT = dict(patch_size=8, embed_dim=32, depth=3, num_heads=2, mlp_ratio=2)
NO_CLASS = dict(class_token=False)
PE_CORE = dict(
    VIT,
    global_pool='map',
    attn_type='rope',
    use_pre_transformer_norm=True,
    use_rot_pos_emb=True,
    ref_feat_shape=(4, 4),
    rope_grid_offset=1.0,
    rope_grid_indexing='xy',
    attn_pool_num_heads=4,
    attn_pool_mlp_ratio=3.0,
)
EVA02 = dict(
    VIT,
    qkv_fused=False,
    swiglu_mlp=True,
    scale_mlp=True,
    scale_attn_inner=True,
    use_rot_pos_emb=True,
    ref_feat_shape=(3, 3),
    init_values=0.1,
)
OPEN_CLIP = dict(patch_size=8, width=32, layers=3, heads=2, mlp_ratio=2, output_dim=24)


@dataclass(frozen=True)
class Family:
    """A kind of towers.

    Attributes:
        trunk: makes the trunk, or the tower if it is open_clip's own, from `image_size`, and from what
            `TimmModel` asks for.
        pool: what an `ImageTower` should call its pool.
        averages: whether the embedding is the mean of the projected locations.
        timm: arguments of `TimmModel`; None for a tower of open_clip.
        step: pixels from one location to the next.
    """

    trunk: Callable[..., nn.Module]
    pool: str
    averages: bool = False
    timm: dict | None = field(default_factory=lambda: dict(pool='token', proj=None))
    step: int = 8

    @property
    def size(self) -> tuple[int, int]:
        """Of the images, for 4 x 4 locations."""
        return 4 * self.step, 4 * self.step


def _vit(image_size, **kwargs):
    return VisionTransformer(img_size=image_size, **kwargs)


def _eva(image_size, **kwargs):
    return Eva(img_size=image_size, **kwargs)


def _mobileclip_b(image_size, **kwargs):
    stem = ConvStem(channels=(8, 16, 32), stride=(2, 2, 2), kernel_size=2, padding=0, act_layer=nn.GELU)
    embed = partial(HybridEmbed, backbone=stem, proj=False)
    arguments = dict(VIT, patch_size=1, no_embed_class=True, embed_layer=embed)
    return VisionTransformer(img_size=image_size, **{**arguments, **kwargs})


def _vitamin(image_size, **kwargs):
    stem = MbConvStages(VitCfg(embed_dim=(8, 16, 32), depths=(1, 1, 1), stem_width=8))
    embed = partial(HybridEmbed, backbone=stem, proj=False)
    arguments = dict(VIT, patch_size=1, mlp_layer=GeGluMlp, global_pool='avg', **NO_CLASS, embed_layer=embed)
    return VisionTransformer(img_size=image_size, **{**arguments, **kwargs})


def _fastvit(image_size, **kwargs):
    return FastVit(
        layers=(1, 1, 1, 1),
        embed_dims=(8, 16, 32, 32),
        mlp_ratios=(2, 2, 2, 2),
        se_downsamples=(False, False, True, True),
        pos_embs=(None, None, None, partial(RepConditionalPosEnc, spatial_shape=(7, 7))),
        token_mixers=('repmixer', 'repmixer', 'repmixer', 'attention'),
        lkc_use_act=True,
        **kwargs,
    )


def _convnext(image_size, **kwargs):
    return ConvNeXt(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), **kwargs)


def _open_clip(image_size, **kwargs):
    return OpenClipVisionTransformer(image_size=image_size, **{**OPEN_CLIP, **kwargs})


def _resnet(image_size, **kwargs):
    return ModifiedResNet(layers=[1, 1, 1, 1], output_dim=24, heads=4, image_size=image_size[0], width=8)


TOKEN, AVERAGE = dict(pool='token', proj=None), dict(pool='avg', proj=None)
LATENT = dict(pool='map', proj='none')
TRUNKS_OWN = dict(pool='', proj='linear')

TRANSFORMERS = {
    'open_clip': Family(_open_clip, 'class token', timm=None),
    'open_clip_layer_scale': Family(partial(_open_clip, ls_init_value=0.1), 'class token', timm=None),
    'open_clip_average': Family(partial(_open_clip, pool_type='avg'), 'mean', averages=True, timm=None),
    'clipa': Family(
        partial(_open_clip, pool_type='avg', final_ln_after_pool=True, no_ln_pre=True), 'mean', timm=None
    ),
    'siglip': Family(partial(_vit, **VIT, **NO_CLASS), 'attention', timm=LATENT),
    'siglip_registers': Family(
        partial(_vit, **VIT, reg_tokens=2, pool_include_prefix=True), 'attention', timm=LATENT
    ),
    'pe_core': Family(partial(_eva, **PE_CORE), 'attention', timm=dict(pool='map', proj=None)),
    'pe_core_no_class_token': Family(
        partial(_eva, **PE_CORE, **NO_CLASS), 'attention', timm=dict(pool='map', proj=None)
    ),
    'eva02': Family(partial(_eva, **EVA02), 'class token'),
    'eva02_fused': Family(partial(_eva, **dict(EVA02, qkv_fused=True), rope_rotate_half=True), 'class token'),
    'eva02_any_size': Family(partial(_eva, **EVA02, dynamic_img_size=True), 'class token'),
    'eva02_average': Family(partial(_eva, **EVA02), 'mean', timm=AVERAGE),
    'eva01': Family(partial(_eva, **VIT), 'class token'),
    'eva_post_norm': Family(partial(_eva, **VIT, use_post_norm=True), 'class token'),
    'dinov3': Family(
        partial(
            _eva,
            **VIT,
            rope_type='dinov3',
            use_rot_pos_emb=True,
            use_abs_pos_emb=False,
            num_reg_tokens=3,
            init_values=0.1,
            rope_rotate_half=True,
        ),
        'class token',
    ),
    'mobileclip_b': Family(_mobileclip_b, 'class token'),
    'vitamin': Family(_vitamin, 'mean', timm=TRUNKS_OWN, step=16),
    'registers': Family(
        partial(_vit, **VIT, reg_tokens=2, no_embed_class=True, qk_norm=True, init_values=0.1), 'class token'
    ),
    'registers_average': Family(
        partial(
            _vit, **VIT, **NO_CLASS, global_pool='avg', reg_tokens=2, fc_norm=False, dynamic_img_size=True
        ),
        'mean',
        averages=True,
        timm=dict(pool='avg', proj='linear'),
    ),
    'average_with_class_token': Family(
        partial(
            _vit, **VIT, fc_norm=False, pool_include_prefix=True, scale_attn_norm=True, scale_mlp_norm=True
        ),
        'mean',
        timm=dict(pool='avg', proj='linear'),
    ),
    'average_mlp': Family(
        partial(_vit, **VIT, fc_norm=False, pre_norm=True), 'mean', timm=dict(pool='avg', proj='mlp')
    ),
}
CNNS = {
    'fastvit': Family(_fastvit, 'mean', averages=True, timm=AVERAGE, step=32),
    'convnext': Family(_convnext, 'mean', timm=TRUNKS_OWN, step=32),
    'convnext_mlp': Family(_convnext, 'mean', timm=dict(pool='', proj='mlp'), step=32),
    'resnet': Family(_resnet, 'attention', timm=None, step=32),
}
FAMILIES = {**TRANSFORMERS, **CNNS}


def small_tower(name: str, size: Sequence[int] | None = None) -> nn.Module:
    """A fresh tower of a family, made for images of a size; the same weights but for positions."""
    family = FAMILIES[name]
    size = tuple(size or family.size)
    if family.timm is None:
        visual = family.trunk(image_size=size)
    else:
        visual = TimmModel(_register(name, size), 24, image_size=size, **family.timm)
    visual.preprocess_cfg = dict(size=size)
    return randomise(visual).eval()


@functools.cache
def _register(name: str, size: tuple[int, int]) -> str:
    def entry(pretrained=False, pretrained_cfg=None, pretrained_cfg_overlay=None, cache_dir=None, **kwargs):
        trunk = FAMILIES[name].trunk(image_size=size, **kwargs)
        trunk.default_cfg = {}
        return trunk

    entry.__name__ = f'small_{name}_{size[0]}x{size[1]}'
    register_model(entry)
    return entry.__name__


@torch.no_grad()
def randomise(visual: nn.Module) -> nn.Module:
    """Random values where initialisation is constant or tiny, each tensor by its name and shape alone."""
    for name, tensor in (*visual.named_parameters(), *visual.named_buffers()):
        if not tensor.is_floating_point():
            continue
        values = random(*tensor.shape, seed=sum(map(ord, name)))
        if name.endswith('running_var'):
            tensor.copy_(0.5 + values.abs())
        elif name.endswith(('running_mean', 'bias')):
            tensor.copy_(0.3 * values)
        elif isinstance(tensor, nn.Parameter) and 'gamma' in name:
            tensor.copy_(0.6 * values)
        elif isinstance(tensor, nn.Parameter) and tensor.ndim == 1:
            tensor.copy_(1 + 0.4 * values)
        elif isinstance(tensor, nn.Parameter) and name.endswith(('token', 'embed', 'embedding', 'latent')):
            tensor.copy_(0.5 * values)
        elif isinstance(tensor, nn.Parameter):
            tensor.copy_(values * (tensor.numel() / tensor.shape[0]) ** -0.5)
    return visual


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def random_images(name, n=2, size=None):
    """Coarse patches of colour and noise: a CNN averages noise alone away."""
    size = size or FAMILIES[name].size
    return 2 * F.interpolate(random(n, 3, 4, 4, seed=4), size) + random(n, 3, *size, seed=3)


@torch.no_grad()
def unit_texts(visual, n=5):
    """As wide as the tower's joint space."""
    width = visual(torch.zeros(1, 3, *visual.preprocess_cfg['size'])).shape[-1]
    return F.normalize(random(n, width, seed=1), dim=-1)
