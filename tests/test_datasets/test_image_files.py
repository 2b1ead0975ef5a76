import copy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lfi.datasets import FewLabels, TinyImageNet
from mmcv.transforms import BaseTransform
from PIL import Image
from torch.utils.data import DataLoader

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]
BAD = 'train/n03/images/n03_1.JPEG'


def truncate(path, fraction=0.6):
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * fraction)])


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fraction=st.floats(0, 0.97))
def test_truncation_anywhere_is_found(fake_tiny_imagenet, fraction):
    path = fake_tiny_imagenet / BAD
    whole = path.read_bytes()
    try:
        truncate(path, fraction)
        with pytest.raises(OSError, match=r'n03_1\.JPEG.*cannot be read'):
            TinyImageNet(fake_tiny_imagenet, pipeline=PIPELINE)[1]
    finally:
        path.write_bytes(whole)


def test_by_default_a_bad_image_is_an_error_with_its_fix(fake_tiny_imagenet):
    (fake_tiny_imagenet / BAD).write_text('not an image')
    data = TinyImageNet(fake_tiny_imagenet, pipeline=PIPELINE)
    assert data[0] is not None
    with pytest.raises(OSError, match=r'n03_1\.JPEG.*skip_bad_images=True'):
        data[1]


def test_skipping_takes_another_warns_once_and_counts(fake_tiny_imagenet, warnings):
    truncate(fake_tiny_imagenet / BAD)
    data = TinyImageNet(fake_tiny_imagenet, skip_bad_images=True, pipeline=PIPELINE)
    assert data.num_bad_images == 0
    for _ in range(3):
        assert data[1]['data_samples'].img_path != str(fake_tiny_imagenet / BAD)
    assert data.num_bad_images == 1
    assert len(warnings) == 1 and BAD in warnings[0]


def test_nothing_but_bad_images_is_an_error(fake_tiny_imagenet, warnings):
    for path in fake_tiny_imagenet.glob('train/*/images/*.JPEG'):
        path.write_bytes(b'')
    data = TinyImageNet(fake_tiny_imagenet, skip_bad_images=True, pipeline=PIPELINE)
    with pytest.raises(OSError, match=r'tiny-imagenet-200: none of the 9 images can be read'):
        data[1]


def test_a_file_that_vanished_is_skipped_too(fake_tiny_imagenet, warnings):
    data = TinyImageNet(fake_tiny_imagenet, skip_bad_images=True, pipeline=PIPELINE)
    (fake_tiny_imagenet / BAD).unlink()
    assert data[1] is not None
    assert data.num_bad_images == 1


def test_in_test_mode_nothing_is_skipped(fake_tiny_imagenet):
    truncate(fake_tiny_imagenet / 'val/images/val_2.JPEG')
    data = TinyImageNet(fake_tiny_imagenet, 'val', skip_bad_images=True, pipeline=PIPELINE, test_mode=True)
    with pytest.raises(OSError, match=r'val_2\.JPEG.*never skipped in test mode'):
        data[0]


def test_workers_share_the_count(fake_tiny_imagenet, warnings):
    truncate(fake_tiny_imagenet / BAD)
    (fake_tiny_imagenet / 'train/n02/images/n02_2.JPEG').write_bytes(b'')
    data = TinyImageNet(fake_tiny_imagenet, skip_bad_images=True, pipeline=PIPELINE)
    loader = DataLoader(data, batch_size=2, num_workers=2, collate_fn=list, multiprocessing_context='fork')
    for _ in range(2):
        assert sum(len(batch) for batch in loader) == 9
    assert data.num_bad_images == 2


def test_subsets_count_their_own(fake_tiny_imagenet, warnings):
    truncate(fake_tiny_imagenet / BAD)
    data = TinyImageNet(fake_tiny_imagenet, skip_bad_images=True, pipeline=PIPELINE)
    data[1]
    assert data.get_subset([0, 2]).num_bad_images == 0
    assert copy.deepcopy(data).num_bad_images == 0
    data.get_subset_([1, 0])
    assert data.num_bad_images == 0
    assert data[0]['data_samples'].img_path.endswith('n03_0.JPEG')
    assert data.num_bad_images == 1


class KeepsConfigs(BaseTransform):
    """A transform that keeps lists of configs, as Albumentations does."""

    transforms = (dict(type='Blur', p=0.1), 'Blur')

    def transform(self, results):
        return results


@pytest.mark.parametrize('wrap', ['plain', 'few labels', 'inside a view', 'beside configs'])
def test_what_the_pipelines_own_loader_cannot_read_is_found_wherever_it_loads(fake_tiny_imagenet, wrap):
    path = fake_tiny_imagenet / BAD
    with Image.open(path) as image:
        image.save(path, format='ICO')
    load, *rest = PIPELINE
    steps = {
        'inside a view': [dict(type='lfi.RecordView', transforms=[load]), *rest],
        'beside configs': [load, KeepsConfigs(), *rest],
    }.get(wrap, PIPELINE)
    data = TinyImageNet(fake_tiny_imagenet, skip_bad_images=True, pipeline=steps)
    data = FewLabels(data, labels_per_class=1) if wrap == 'few labels' else data
    assert all(item['data_samples'].img_path != str(path) for item in data)
    assert getattr(data, 'dataset', data).num_bad_images == 1
