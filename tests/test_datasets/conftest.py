import pytest
from picture_files import write_noise

WORDS = {
    'n01': 'crane',
    'n02': 'crane, wading bird',
    'n03': 'goldfish, Carassius auratus',
    'n09': 'unlisted',
}
IMAGES = 3


@pytest.fixture
def fake_tiny_imagenet(tmp_path):
    """Three listed classes of three training images and one validation image, and an unlisted class."""
    root = tmp_path / 'tiny-imagenet-200'
    annotations = []
    for number, wnid in enumerate(WORDS):
        boxes = []
        for i in range(IMAGES):
            name = f'{wnid}_{i}.JPEG'
            write_noise(root / 'train' / wnid / 'images' / name, 10 * number + i)
            boxes.append(f'{name}\t{i}\t2\t40\t{50 + number}\n')
        (root / 'train' / wnid / f'{wnid}_boxes.txt').write_text(''.join(boxes))
        write_noise(root / 'val' / 'images' / f'val_{number}.JPEG', 100 + number)
        annotations.append(f'val_{number}.JPEG\t{wnid}\t{number}\t1\t60\t63\n')
    (root / 'val' / 'val_annotations.txt').write_text(''.join(annotations))
    (root / 'wnids.txt').write_text('n03\nn01\nn02\n')
    (root / 'words.txt').write_text(''.join(f'{wnid}\t{words}\n' for wnid, words in WORDS.items()))
    return root
