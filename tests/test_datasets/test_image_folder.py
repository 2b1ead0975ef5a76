"""All images below a folder, whatever its layout, and no label."""

import os
import pickle

import numpy as np
import pytest
from lfi.datasets import FewLabels, ImageFolder, LabelledShareSampler, SemiSupervisedDataset, unaugmented
from lfi.datasets.labelled_images import labelled_mask
from lfi.errors import UsageError
from lfi.unreadable import UnreadableList, replace_unreadable
from mmengine.config import ConfigDict
from PIL import Image
from torch.utils.data import DataLoader

PIPELINE = [dict(type='LoadImageFromFile'), dict(type='PackInputs')]


def draw(path, seed=0, **kwargs):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, **kwargs)


@pytest.fixture
def folder(tmp_path):
    """Images at three depths, with suffixes in both cases, and what is no image."""
    root = tmp_path / 'images'
    for seed, name in enumerate(['z.PNG', 'b/c/1.jpg', 'b/c/0.JPEG', 'b/2.webp', 'a/x.bmp', 'a/y.tiff']):
        draw(root / name, seed)
    (root / 'b/notes.txt').write_text('no image')
    (root / 'b/folder.png').mkdir()
    return root


def names(data, root):
    return [os.path.relpath(data.get_data_info(i)['img_path'], root) for i in range(len(data))]


def test_all_images_below_it_are_there_folder_by_folder(folder):
    data = ImageFolder(folder, pipeline=PIPELINE)
    assert names(data, folder) == ['z.PNG', 'a/x.bmp', 'a/y.tiff', 'b/2.webp', 'b/c/0.JPEG', 'b/c/1.jpg']
    for i in range(len(data)):
        assert data[i]['inputs'].shape == (3, 8, 12)


def test_samples_are_marked_as_those_whose_label_is_hidden(folder):
    data = ImageFolder(folder, pipeline=PIPELINE)
    hidden = FewLabels(ImageFolder(folder, pipeline=PIPELINE), labels_per_class=0)
    for i in range(len(data)):
        assert data.get_data_info(i) == hidden.get_data_info(i)
        sample, theirs = data[i]['data_samples'], hidden[i]['data_samples']
        assert sample.gt_label.item() == theirs.gt_label.item() == -1
        assert sample.metainfo == theirs.metainfo
        assert sample.metainfo['unlabelled'] is True
    assert not labelled_mask(data).any()


def test_beside_labelled_data_batches_have_their_share(folder, fake_tiny_imagenet):
    few = dict(type='lfi.TinyImageNet', data_root=str(fake_tiny_imagenet), pipeline=PIPELINE)
    data = SemiSupervisedDataset(
        [
            dict(type='lfi.FewLabels', labels_per_class=1, dataset=few),
            dict(type='lfi.ImageFolder', data_root=str(folder), pipeline=PIPELINE),
        ]
    )
    sampler = LabelledShareSampler(data, labelled_share=0.5, seed=0)
    assert (len(sampler.labelled), len(sampler.unlabelled)) == (3, 6 + 6)
    for batch in DataLoader(data, batch_size=4, sampler=sampler, collate_fn=list):
        marked = [sample['data_samples'].metainfo.get('unlabelled', False) for sample in batch]
        assert sum(marked) == 2


def test_links_are_followed_and_no_folder_is_read_twice(folder, tmp_path):
    draw(tmp_path / 'elsewhere/d/3.png', 7)
    (folder / 'linked').symlink_to(tmp_path / 'elsewhere')
    (folder / 'again').symlink_to(tmp_path / 'elsewhere')
    (folder / 'b/loop').symlink_to(folder)
    (folder / 'one.png').symlink_to(tmp_path / 'elsewhere/d/3.png')
    found = names(ImageFolder(folder), folder)
    assert len(found) == 8
    assert {'again/d/3.png', 'one.png'} < set(found)


def test_an_image_that_stands_in_for_another_is_marked(folder, tmp_path):
    (folder / 'b/bad.jpg').write_bytes(b'no image')
    data = ImageFolder(folder, pipeline=PIPELINE)
    replace_unreadable(data, 0.5, UnreadableList(tmp_path / 'found'))
    samples = [data[i]['data_samples'] for i in range(len(data))]
    assert len(samples) == 7 and all(sample.unlabelled for sample in samples)
    assert 'bad.jpg' not in {os.path.basename(sample.img_path) for sample in samples}


@pytest.mark.parametrize('name', ['missing', 'empty'])
def test_no_folder_and_no_image_are_errors(tmp_path, name):
    (tmp_path / 'empty/deeper').mkdir(parents=True)
    (tmp_path / 'empty/deeper/notes.txt').write_text('no image')
    with pytest.raises(UsageError, match=rf"data_root='.*/{name}' .* set it to the folder of your images"):
        ImageFolder(tmp_path / name)


def test_a_folder_that_cannot_be_listed_is_an_error(folder, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if os.path.basename(path) == 'c':
            raise PermissionError(13, 'Permission denied', path)
        return scandir(path)

    monkeypatch.setattr(os, 'scandir', refuse)
    with pytest.raises(PermissionError, match="b/c'"):
        ImageFolder(folder)


@pytest.mark.parametrize('serialize_data', [True, False])
def test_parts_and_copies(folder, serialize_data):
    data = ImageFolder(folder, pipeline=PIPELINE, serialize_data=serialize_data)
    first = ImageFolder(folder, indices=2, serialize_data=serialize_data)
    some = ImageFolder(folder, indices=[4, 0], serialize_data=serialize_data)
    everything = names(data, folder)
    assert names(first, folder) == everything[:2]
    assert names(some, folder) == [everything[4], everything[0]]
    assert names(data.get_subset([5]), folder) == everything[5:]
    assert names(pickle.loads(pickle.dumps(data)), folder) == everything


def test_a_path_from_here_is_as_good_as_a_whole_one(folder, monkeypatch):
    monkeypatch.chdir(folder)
    # A cache knows an image by its folder and name.
    assert names(ImageFolder('.'), folder) == names(ImageFolder(folder), folder)
    assert ImageFolder('.').get_data_info(0)['img_path'] == str(folder / 'z.PNG')


def test_its_pipeline_can_be_reduced_for_a_cache(folder):
    steps = [
        PIPELINE[0],
        dict(type='lfi.RecordView', transforms=[dict(type='RandomFlip', prob=0.5)]),
        dict(type='PackInputs', algorithm_keys=('view',)),
    ]
    config = ConfigDict(dataset=dict(type='lfi.ImageFolder', data_root=str(folder), pipeline=steps)).dataset
    data = ImageFolder(**{k: v for k, v in unaugmented(config).items() if k != 'type'})
    assert 'view' not in data[0]['data_samples'] and data[0]['inputs'].shape == (3, 8, 12)
