"""The training pipelines of all configs, run on a photo."""

import numpy as np
import pytest
from mmcv.transforms import Compose
from mmengine.registry import init_default_scope
from mmengine.runner import set_random_seed
from PIL import Image
from repository_configs import CONFIGS, PRETRAINING, read

DRAWS = 6
# Drawn data come from the data set itself.
ON_DISK = [config for config in CONFIGS + PRETRAINING if 'shapes' not in config]


@pytest.fixture(scope='module')
def photo(tmp_path_factory):
    """What a data set says of a photo with an object in it."""
    path = tmp_path_factory.mktemp('photos') / '1.jpg'
    pixels = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    corners = [8, 8, 120, 8, 120, 88, 8, 88]
    instance = dict(bbox=[8, 8, 120, 88], bbox_label=0, ignore_flag=0, mask=[corners])
    return dict(img_path=str(path), img_id=1, height=96, width=128, gt_label=0, instances=[instance])


@pytest.fixture(scope='module')
def pipelines():
    """Each training pipeline once, with the scope that its config sets and the configs that have it."""
    found = {}
    for config in ON_DISK:
        cfg = read(config)
        steps = _first_data_set(cfg.train_dataloader.dataset).pipeline
        found.setdefault(repr(steps), (cfg.default_scope, steps, []))[2].append(config)
    return list(found.values())


def _first_data_set(data):
    while 'pipeline' not in data:
        data = data.dataset if 'dataset' in data else data.datasets[0]
    return data


def test_they_take_a_photo_whatever_is_drawn(pipelines, photo):
    for scope, steps, configs in pipelines:
        init_default_scope(scope)
        pipeline = Compose(steps)
        outputs = []
        for seed in range(DRAWS):
            set_random_seed(seed)
            try:
                outputs.append(pipeline({**photo, 'instances': [dict(photo['instances'][0])]}))
            except Exception as error:
                raise AssertionError(f'draw {seed} of {", ".join(configs)}') from error
        # A crop without an object is none.
        shapes = [output['inputs'].shape for output in outputs if output is not None]
        assert shapes and all(len(shape) == 3 and shape[0] == 3 for shape in shapes), configs
