"""Folders of images, with and without classes and a split."""

import pytest
from lfi.errors import UsageError
from lfi.new_config import find_data
from picture_files import write_noise
from small_data_sets import write_class_folders


def test_subfolders_are_classes(tmp_path):
    data = find_data(write_class_folders(tmp_path / 'my data', ('ü, ö', 'red_car'), 3), tmp_path)
    assert (data.form, data.task) == ('class folders', 'classification')
    assert data.classes == ('red_car', 'ü, ö')
    assert [(image.path, image.classes) for image in data.train][2:4] == [
        ('red_car/2.jpg', (0,)),
        ('ü, ö/0.jpg', (1,)),
    ]
    assert not data.val and not data.notes
    assert all(image.size == (64, 64) for image in data.train)


def test_train_and_val_are_the_split(tmp_path):
    write_class_folders(tmp_path / 'training', count=3)
    write_class_folders(tmp_path / 'valid', count=2)
    data = find_data(tmp_path, tmp_path)
    assert data.classes == ('cat', 'dog')
    assert (len(data.train), len(data.val)) == (6, 4)
    assert data.val[0].path == 'valid/cat/0.jpg'
    assert data.form == 'class folders below training and valid'


def test_tiny_imagenet_lists_the_classes_of_its_validation(tmp_path):
    for name in ('n01443537', 'n01629819'):
        for number in range(2):
            write_noise(tmp_path / 'train' / name / 'images' / f'{name}_{number}.JPEG', number)
        (tmp_path / 'train' / name / f'{name}_boxes.txt').write_text('0.JPEG\t0\t0\t63\t63\n')
    for split, count in (('val', 3), ('test', 1)):
        for number in range(count):
            write_noise(tmp_path / split / 'images' / f'{split}_{number}.JPEG', 10 + number)
    lines = [f'val_{number}.JPEG\t{name}\t0\t0\t9\t9' for number, name in enumerate(['n01629819'] * 2)]
    (tmp_path / 'val/val_annotations.txt').write_text(
        '\n'.join([*lines, 'val_2.JPEG\tn01443537\t0\t0\t9\t9'])
    )
    data = find_data(tmp_path, tmp_path)
    assert data.classes == ('goldfish', 'fire salamander')
    assert [(image.path, image.classes) for image in data.val] == [
        ('val/images/val_2.JPEG', (0,)),
        ('val/images/val_0.JPEG', (1,)),
        ('val/images/val_1.JPEG', (1,)),
    ]
    assert len(data.train) == 4
    assert data.notes[0] == 'the split test is left out: val validates'
    (tmp_path / 'val/val_annotations.txt').unlink()
    with pytest.raises(
        UsageError, match='has images and no class folders.* or add val_annotations.txt of Tiny'
    ):
        find_data(tmp_path, tmp_path)


def test_a_folder_one_level_too_high_is_noted(tmp_path):
    for name in ('a', 'b'):
        write_class_folders(tmp_path / 'photos' / name, ('cat', 'dog'), 2)
    (note,) = find_data(tmp_path / 'photos', tmp_path).notes[:1]
    assert note.startswith("the class folders hold folders and no images: 'a' has cat, dog. If these are the")
    assert note.endswith(f'give {tmp_path}/photos/a')
    with pytest.raises(
        UsageError, match=rf"'photos'.* if its 2 folders are the classes, give {tmp_path}/photos"
    ):
        find_data(tmp_path, tmp_path)


@pytest.mark.parametrize('folder', ['', 'train'])
def test_images_alone_are_for_pretraining(folder, tmp_path):
    """Images beside `train` are not trained on."""
    write_noise(tmp_path / folder / 'a.jpg', 0)
    if folder:
        write_noise(tmp_path / 'val' / 'b.jpg', 1)
    data = find_data(tmp_path, tmp_path)
    assert (data.task, data.root, data.classes) == ('pretraining', tmp_path / folder, ())
    assert [image.path for image in data.train] == ['a.jpg']


def add(file, *more):
    def change(root):
        for seed, name in enumerate((file, *more)):
            write_noise(root / name, 1000 + seed)

    return change


@pytest.mark.parametrize(
    ('classes', 'change', 'message'),
    [
        ((), lambda root: root.mkdir(), 'data has no image, nor do its subfolders'),
        (
            ('cat', 'dog'),
            lambda root: (root / 'bird').mkdir(),
            r'class folder \S+bird has no image: add images, or',
        ),
        (
            ('cat',),
            lambda root: None,
            "one class folder, 'cat', and a classifier needs two: to pretrain without",
        ),
        (('cat', 'dog'), add('x.jpg'), r'1 images beside the folders of classes, such as x.jpg: move'),
        (
            ('train/cat', 'train/dog'),
            add('val/bird/0.jpg'),
            r"val has the class 'bird', which \S+train lacks",
        ),
        (
            ('train/cat', 'train/dog'),
            add('val/0.jpg'),
            r'val has images and no class folders, unlike \S+train',
        ),
    ],
)
def test_wrong_folders_are_refused_in_one_line(classes, change, message, tmp_path):
    root = tmp_path / 'data'
    write_class_folders(root, classes)
    change(root)
    with pytest.raises(UsageError, match=message) as error:
        find_data(root, tmp_path)
    assert '\n' not in str(error.value)
