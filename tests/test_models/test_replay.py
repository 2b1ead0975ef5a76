"""Maps of whole images, kept and warped into views, against the teacher's maps of the views themselves."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lfi.datasets import RecordView, TinyImageNet
from lfi.models.batches.mixtures import record_mixtures
from lfi.models.teachers import VLMAttentionTeacher
from lfi.structures import (
    InteractionMaps,
    PixelFormat,
    Tiles,
    image_windows,
    mix_maps,
    pack,
    recorded_mixture,
    unpack,
)
from mmengine.runner import set_random_seed
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.structures import DataSample

pytestmark = pytest.mark.usefixtures('mmpretrain_scope')

VIEWS = {
    'flip': [dict(type='RandomFlip', prob=1.0)],
    'crop': [dict(type='RandomResizedCrop', scale=96, crop_ratio_range=(0.3, 1.0), interpolation='bilinear')],
}
VIEWS['both'] = VIEWS['crop'] + [dict(type='RandomFlip', prob=0.5)]


def kept(maps):
    return unpack(pack(maps), maps.layers, maps.directions, 'cpu')


def smooth_picture(seed, size=96):
    """(H, W, 3) float32 of waves a third of the picture long and more."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    waves = [np.cos(2 * np.pi * (a * x + b * y) + c) for a, b, c in rng.uniform(-3, 3, (3, 3))]
    return np.stack(waves, -1).astype(np.float32)


def covariant_teacher(picture, grid):
    """The mean colour of each cell: a teacher that sees places one by one."""
    image = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]
    return InteractionMaps(
        logits=F.adaptive_avg_pool2d(image, grid)[:, None],
        presence=torch.ones(1, 3),
        valid=torch.ones(1, *grid, dtype=torch.bool),
    )


@pytest.mark.parametrize('name', VIEWS)
def test_a_covariant_teacher_is_replayed_up_to_interpolation(name):
    for seed in range(20):
        set_random_seed(seed)
        picture = smooth_picture(seed)
        results = RecordView(VIEWS[name])({'img': picture})
        online = covariant_teacher(results['img'], (8, 8))
        replayed = kept(covariant_teacher(picture, (24, 24))).warp(results['view'][None], (8, 8))
        assert replayed.valid.all()
        # Colours run from -1 to 1; cells are blurred a little by keeping, and by shifts of less than one.
        torch.testing.assert_close(replayed.logits, online.logits, rtol=0, atol=0.1)
        assert correlation(replayed.logits, online.logits) > 0.999


def correlation(first, second):
    """Mean over images and concepts of Pearson's over places."""
    first, second = (x.flatten(-2) - x.flatten(-2).mean(-1, keepdim=True) for x in (first, second))
    return F.cosine_similarity(first, second, dim=-1).mean().item()


def mixed(pictures, kind, seed):
    """Pictures (B, H, W, 3), mixed as mmpretrain does it, and how."""
    augments = dict(augments=[dict(type=kind, alpha=1.0)])
    preprocessor = ClsDataPreprocessor(num_classes=len(pictures), batch_augments=augments)
    record_mixtures(preprocessor)
    samples = [DataSample().set_gt_label(i) for i in range(len(pictures))]
    set_random_seed(seed)
    inputs = [torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1) for picture in pictures]
    data = preprocessor(dict(inputs=inputs, data_samples=samples), training=True)
    return data['inputs'], recorded_mixture(data['data_samples'])


def test_the_cache_says_of_a_pasted_box_what_a_covariant_teacher_sees():
    for seed in range(10):
        set_random_seed(seed)
        pictures = [smooth_picture(10 * seed + i) for i in range(4)]
        results = [RecordView(VIEWS['both'])({'img': picture}) for picture in pictures]
        images, mixture = mixed([view['img'] for view in results], 'CutMix', seed)
        online = [covariant_teacher(image.permute(1, 2, 0).numpy(), (8, 8)).logits for image in images]
        stored = [kept(covariant_teacher(picture, (24, 24))) for picture in pictures]
        whole = InteractionMaps(
            logits=torch.cat([maps.logits for maps in stored]),
            presence=torch.ones(4, 3),
            valid=torch.ones(4, 24, 24, dtype=torch.bool),
        )
        window = image_windows(mixture.size, [mixture.size] * 4, 'cpu')
        placement = mixture.place([Tiles.whole(view['view']) for view in results], (8, 8), window)
        replayed = mix_maps(placement.warp(placement.take(whole)), placement.share)
        assert replayed.valid.all()
        assert correlation(replayed.logits, torch.cat(online)) > 0.99
        # Where a location shows one image alone, it is the same up to interpolation.
        share = placement.share[:, :1, None]
        pure = ((share < 1e-4) | (share > 1 - 1e-4)).expand_as(replayed.logits)
        torch.testing.assert_close(replayed.logits[pure], torch.cat(online)[pure], rtol=0, atol=0.15)


def test_a_real_teacher_sees_in_a_view_what_its_replayed_maps_say(data_root, lite0_folder):
    data = TinyImageNet(data_root('tiny-imagenet-200'), 'val', images_per_class=1)
    names = data.class_names(data.data_root)
    teacher = VLMAttentionTeacher(lite0_folder, extractor=dict(type='dense'), concepts=names, input_size=320)
    pixels = PixelFormat((0.0,) * 3, (1.0,) * 3, rgb=False)
    load = dict(type='LoadImageFromFile')
    crop = dict(type='RandomResizedCrop', scale=64, crop_ratio_range=(0.5, 1.0), interpolation='bicubic')
    found = []
    set_random_seed(0)
    for i in range(24):
        info = data.get_data_info(i)
        whole = RecordView([load])(dict(info))
        view = RecordView([load, crop, VIEWS['both'][1]])(dict(info))
        images = torch.from_numpy(np.stack([whole['img'], view['img']])).permute(0, 3, 1, 2).float()
        maps = teacher(images, pixels)
        label = torch.tensor([[info['gt_label']]] * 2)
        maps = maps.gather(label)
        first = InteractionMaps(maps.logits[:1], maps.presence[:1], maps.valid[:1])
        replayed = kept(first).warp(view['view'][None], (8, 8))
        online = InteractionMaps(maps.logits[1:], maps.presence[1:], maps.valid[1:]).resize((8, 8))
        found.append(correlation(replayed.logits, online.logits))
    # The teacher itself answers differently to a part of an image, which it sees larger.
    assert np.mean(found) > 0.75
