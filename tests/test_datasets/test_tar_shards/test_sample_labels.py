"""Labels of samples: classes, captions, and objects as mmdet's own data set reads them."""

import json

import pytest
from lfi.datasets.tar_shards import TarSample
from lfi.datasets.tar_shards.annotations import sample_info
from lfi.errors import UsageError

ANNOTATIONS = [
    {
        'bbox': [1.0, 2, 8, 9],
        'category_id': 18,
        'area': 60,
        'iscrowd': 0,
        'segmentation': [[1, 2, 9, 2, 9, 9]],
    },
    {'bbox': [1.0, 2, 8, 9], 'category_id': 3, 'area': 72, 'iscrowd': 1},
    {'bbox': [1.0, 2, 8, 9], 'category_id': 5, 'area': 72, 'iscrowd': 0},
    {'bbox': [30.0, 2, 8, 9], 'category_id': 3, 'area': 72, 'iscrowd': 0},
    {'bbox': [3.0, 2, 8, 0.5], 'category_id': 3, 'area': 4, 'iscrowd': 0},
    {'bbox': [3.0, 2, 8, 5], 'category_id': 3, 'area': 40, 'iscrowd': 0, 'ignore': 1},
]
CLASSES, IDS = ('dog', 'car'), (18, 3)


def sample_of(**members):
    contents = {
        name: value if isinstance(value, bytes) else json.dumps(value).encode()
        for name, value in members.items()
    }
    return TarSample('a.tar', 'tar://a.tar/1.jpg', b'', contents)


@pytest.mark.parametrize(
    ('members', 'expected'),
    [
        (dict(cls=b'3'), dict(gt_label=3)),
        (dict(cls=b' 3\n', txt=b' a dog\n'), dict(gt_label=3, caption='a dog')),
        (dict(json=dict(label=2)), dict(gt_label=2)),
        (dict(txt=b'a dog'), dict(gt_label=-1, unlabelled=True, caption='a dog')),
    ],
)
def test_classes_and_captions(members, expected):
    assert sample_info(sample_of(**members), 5, None) == dict(img_path='tar://a.tar/1.jpg', **expected)


def test_objects_are_those_of_mmdet(tmp_path):
    datasets = pytest.importorskip('mmdet.datasets')
    image = dict(id=9, width=20, height=24)
    categories = [dict(id=number, name=name) for number, name in zip(IDS, CLASSES)] + [dict(id=5, name='cat')]
    annotations = [dict(item, id=number, image_id=9) for number, item in enumerate(ANNOTATIONS)]
    content = dict(images=[dict(image, file_name='1.jpg')], annotations=annotations, categories=categories)
    (tmp_path / 'coco.json').write_text(json.dumps(content))
    options = dict(metainfo=dict(classes=CLASSES), data_prefix=dict(img=''), pipeline=[])
    expected = datasets.CocoDataset(str(tmp_path / 'coco.json'), **options).get_data_info(0)
    # mmdet takes COCO's order of the categories for the labels.
    info = sample_info(sample_of(json=dict(image, annotations=ANNOTATIONS)), 2, IDS)
    assert len(info['instances']) == 2
    assert info['instances'] == expected['instances']
    assert {key: info[key] for key in ('img_id', 'width', 'height')} == dict(img_id=9, width=20, height=24)
    assert sample_info(sample_of(), 2, IDS)['unlabelled']


@pytest.mark.parametrize(
    ('members', 'ids', 'message'),
    [
        (dict(cls=b'5'), None, r"tar://a.tar/1.jpg: its label '5' must be an index from 0 to 4"),
        (dict(cls=b'dog'), None, r"its label 'dog' must be an index from 0 to 4"),
        (dict(json=dict(label=[1, 2])), None, r'its label \[1, 2\] must be an index'),
        (dict(json=b'{'), None, r'1.jpg: its member json cannot be read'),
        (dict(json=b'[]'), None, r'its member json must hold an object'),
        (dict(json=dict(annotations=ANNOTATIONS)), IDS, r"json lacks a field of COCO.*'width'|'height'"),
        (dict(json=dict(width=2, height=2, annotations=[{}])), IDS, r"lacks a field of COCO.*'category_id'"),
        (dict(json=dict(width=2, height=2, annotations={})), IDS, r'annotations must be a list'),
        (
            dict(json=dict(width=2, height=2, annotations=[dict(ANNOTATIONS[0], category_id='18')])),
            IDS,
            r'category_id must be an integer',
        ),
    ],
)
def test_wrong_labels_are_named(members, ids, message):
    if ids:
        pytest.importorskip('mmdet')
    with pytest.raises(UsageError, match=message):
        sample_info(sample_of(**members), 5, ids)
