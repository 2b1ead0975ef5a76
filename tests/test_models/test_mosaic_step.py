"""A detector learns from a cache while its images are mosaics."""

import pytest
import torch
from lfi.models.teachers import maps_identity, maps_to_cache
from lfi.models.teachers.asked_concepts import maps_of_concepts
from lfi.structures import BatchView, image_windows, mix_maps, place_tiles
from mmcv.transforms import BaseTransform
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, DefaultScope
from mmengine.runner import set_random_seed
from small_students import unread_maps
from written_cache import write_cache

pytestmark = pytest.mark.usefixtures('mmdet_scope')

META = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'view', 'interaction_maps')
AFFINE = dict(type='RandomAffine', border=(-32, -32), scaling_ratio_range=(0.5, 1.0))


class WithoutMasks(BaseTransform):
    """mmdet's Mosaic leaves them as they were."""

    def transform(self, results):
        del results['gt_masks']
        return results


@pytest.fixture(scope='module')
def make_detector(make_detector):
    def make(cache=None):
        model = make_detector('retinanet', max_concepts=2, teacher=dict(cache=cache))
        model.backbone.init_weights()
        return model.train()

    return make


def dataset_of(cache, *steps, prob=1.0):
    return DATASETS.build(
        dict(
            type='mmdet.MultiImageMixDataset',
            dataset=dict(
                type='lfi.Shapes',
                split='train',
                num_images=6,
                img_size=64,
                pipeline=[dict(type='LoadAnnotations', with_bbox=True), dict(type=WithoutMasks)],
            ),
            pipeline=[
                dict(type='lfi.RecordedMosaic', img_scale=(64, 64), prob=prob),
                dict(type='lfi.RecordView', transforms=[AFFINE, dict(type='RandomFlip', prob=0.5)]),
                *steps,
                dict(type='lfi.LoadInteractionMaps', cache=cache),
                dict(type='PackDetInputs', meta_keys=META),
            ],
        )
    )


@pytest.fixture(scope='module')
def cache(make_detector, tmp_path_factory):
    """Of the six images, and what the teacher says of them. Do not write into it."""
    folder, model = tmp_path_factory.mktemp('cache'), make_detector()
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = dataset_of(None, prob=0.0)
    plain = dataset.dataset
    images = torch.stack([torch.from_numpy(plain[i]['img']).permute(2, 0, 1) for i in range(6)])
    samples = [dataset[i]['data_samples'] for i in range(6)]
    data = model.data_preprocessor(dict(inputs=list(images), data_samples=samples), training=True)
    inputs = data['inputs'][..., :64, :64]
    maps = maps_to_cache(model.teacher, BatchView(inputs, model.pixel_format, [(64, 64)] * 6))
    paths, texts = [sample.img_path for sample in samples], model.teacher.text_embeddings.numpy()
    return write_cache(folder, maps_identity({**model.teacher_cfg, 'cache': None}), paths, texts, maps)


@pytest.mark.parametrize('prob', [0.0, 0.5, 1.0])
@pytest.mark.parametrize('mixup', [False, True])
def test_a_detector_learns_from_the_maps_of_mosaics(make_detector, cache, prob, mixup):
    steps = [dict(type='lfi.RecordedMixUp', img_scale=(64, 64))] if mixup else []
    set_random_seed(1)
    dataset = dataset_of(cache, *steps, prob=prob)
    model = make_detector(cache)
    data = model.data_preprocessor(pseudo_collate([dataset[i] for i in range(4)]), training=True)
    maps, _ = unread_maps(model, **data)
    maps.check()
    assert maps.concepts.shape == (4, 3)
    total, log = model.parse_losses(model(**data, mode='loss'))
    assert {'loss_spatial', 'loss_semantic', 'loss_presence'} < set(log)
    assert all(value.isfinite().all() for value in log.values())
    total.backward()


def test_images_beside_mosaics_have_the_maps_that_they_had(make_detector, cache):
    model = make_detector(cache)
    plain, mosaics = dataset_of(cache, prob=0.0), dataset_of(cache)
    set_random_seed(2)
    images = [plain[i] for i in range(2)]
    both = [*images, mosaics[2]]
    alone, _ = unread_maps(model, **model.data_preprocessor(pseudo_collate(images), training=True))
    maps, _ = unread_maps(model, **model.data_preprocessor(pseudo_collate(both), training=True))
    for b in range(2):
        assert maps.concepts[b].sort().values.equal(alone.concepts[b].sort().values)
        order = [maps.concepts[b].tolist().index(c) for c in alone.concepts[b].tolist()]
        torch.testing.assert_close(maps.presence[b, order], alone.presence[b])
        assert maps.valid[b].equal(alone.valid[b])
        shown = alone.valid[b]
        torch.testing.assert_close(maps.logits[b][:, order][..., shown], alone.logits[b][..., shown])


def test_a_mosaic_is_the_mixture_of_its_pieces(make_detector, cache):
    model = make_detector(cache)
    set_random_seed(3)
    data = model.data_preprocessor(pseudo_collate([dataset_of(cache)[0]]), training=True)
    stored = data['data_samples'][0].interaction_maps
    assert len(stored.record) == len(stored.tiles.shares) == 4
    maps, labels = unread_maps(model, **data)
    files = model.teacher.maps_of([stored], 'cpu')
    # Each piece is reduced to the concepts of the mosaic before it is warped.
    files = maps_of_concepts(files, maps.concepts[:, :2].expand(4, -1), 5)
    placement = place_tiles([stored.tiles], maps.grid, image_windows((1, 1), [(1, 1)], 'cpu'))
    expected = mix_maps(placement.warp(placement.take(files)), placement.share)
    torch.testing.assert_close(maps.logits, expected.logits)
    torch.testing.assert_close(maps.presence, expected.presence)
