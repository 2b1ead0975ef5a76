import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lfi.concepts import concept_names
from lfi.datasets import PACS, VLCS, leave_out
from lfi.datasets.domain_folders import holdout
from mmengine.registry import DATASETS
from PIL import Image

PACK = [
    dict(type='LoadImageFromFile'),
    dict(type='PackInputs', meta_keys=('img_path', 'domain')),
]
# As the development subset: VOC2007 is missing, and LabelMe has no person.
MINI_VLCS = {
    'Caltech101': VLCS.METAINFO['classes'],
    'LabelMe': ('bird', 'car', 'chair', 'dog'),
    'SUN09': ('dog',),
}


def write_images(root, classes_of, count=5):
    for domain, classes in classes_of.items():
        for name in classes:
            folder = root / domain / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new('RGB', (10, 8), (i, 0, 0)).save(folder / f'{i}.png')
    return root


@pytest.fixture(scope='module')
def pacs(tmp_path_factory):
    classes_of = dict.fromkeys(PACS.DOMAINS, PACS.METAINFO['classes'])
    return write_images(tmp_path_factory.mktemp('data') / 'PACS', classes_of)


@pytest.fixture(scope='module')
def vlcs(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp('data') / 'VLCS', MINI_VLCS)


def infos(dataset):
    return [dataset.get_data_info(i) for i in range(len(dataset))]


def paths(dataset):
    return [info['img_path'] for info in infos(dataset)]


# ---- the split ---------------------------------------------------------------------------------------


def domainbed_split(n, seed, index):
    """As DomainBed describes it: shuffle the list of places, hold out the first fifth."""
    text = str((seed, index))
    generator = np.random.RandomState(int(hashlib.md5(text.encode('utf-8')).hexdigest(), 16) % (2**31))
    places = list(range(n))
    generator.shuffle(places)
    held_out = places[: int(n * 0.2)]
    return set(places) - set(held_out), set(held_out)


@given(n=st.integers(0, 400), seed=st.integers(0, 2**31), index=st.integers(0, 5))
def test_the_split_is_domainbeds(n, seed, index):
    train, val = holdout(n, seed, index)
    assert (set(train), set(val)) == domainbed_split(n, seed, index)
    assert sorted(train + val) == list(range(n))


def test_training_and_validation_images_make_up_each_domain(pacs):
    train, val, whole = (PACS(pacs, split=split) for split in ('train', 'val', 'all'))
    assert sorted(paths(train) + paths(val)) == sorted(paths(whole))
    counts = {domain: sum(info['domain'] == domain for info in infos(val)) for domain in PACS.DOMAINS}
    # A fifth of 7 classes of 5 images.
    assert counts == dict.fromkeys(PACS.DOMAINS, 7)
    assert paths(PACS(pacs, split='val', seed=1)) != paths(val)
    assert paths(PACS(pacs, split='val', seed=0)) == paths(val)


def test_a_domains_split_does_not_depend_on_the_others(pacs):
    alone = PACS(pacs, domains='photo', split='val')
    assert paths(alone) == [
        info['img_path'] for info in infos(PACS(pacs, split='val')) if info['domain'] == 'photo'
    ]


# ---- domains and classes -----------------------------------------------------------------------------


def test_each_image_has_its_domain_and_its_label(pacs):
    data = PACS(pacs, domains=['sketch', 'cartoon'])
    assert [info['domain'] for info in infos(data)] == ['sketch'] * 35 + ['cartoon'] * 35
    assert data.get_gt_labels().tolist() == [label for label in range(7) for _ in range(5)] * 2
    info = data.get_data_info(7)
    assert info['img_path'] == str(pacs / 'sketch/elephant/2.png')
    assert info['gt_label'] == 1


def test_classes_may_have_other_names_but_not_those_of_one_another(pacs):
    names = ['Hund', 'Elefant', 'giraffe', 'Gitarre', 'Pferd', 'Haus', 'Person']
    data = PACS(pacs, domains='photo', classes=names)
    label = {info['img_path'].split('/')[-2]: info['gt_label'] for info in infos(data)}['horse']
    assert data.metainfo['classes'][label] == 'Pferd'
    reverse = [name.title() for name in reversed(PACS.METAINFO['classes'])]
    for wrong in (['dog', 'horse'], reverse):
        with pytest.raises(ValueError, match='must name the folders'):
            PACS(pacs, classes=wrong)


def test_classes_are_known_without_data():
    assert concept_names(dict(type='lfi.PACS')) == list(PACS.METAINFO['classes'])
    assert concept_names(dict(type='lfi.VLCS')) == ['bird', 'car', 'chair', 'dog', 'person']


def test_domains_and_classes_may_be_missing(vlcs):
    data = VLCS(vlcs)
    assert data.domains == ['Caltech101', 'LabelMe', 'SUN09']
    labels = {domain: set() for domain in data.domains}
    for info in infos(data):
        labels[info['domain']].add(info['gt_label'])
    # A class keeps its label where another one is missing.
    assert labels == {'Caltech101': {0, 1, 2, 3, 4}, 'LabelMe': {0, 1, 2, 3}, 'SUN09': {3}}
    assert len(data.metainfo['classes']) == 5


def test_a_domain_that_is_named_but_missing_is_an_error(vlcs, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'lacks VOC2007; .* it has Caltech101, LabelMe, SUN09'):
        VLCS(vlcs, domains=['LabelMe', 'VOC2007'])
    with pytest.raises(FileNotFoundError, match='lacks every domain; .* it has none.*LFI_DATA_ROOT'):
        VLCS(tmp_path)


def test_source_domains_are_all_others_that_are_there(vlcs, tmp_path):
    assert VLCS.source_domains(vlcs, 'LabelMe') == ['Caltech101', 'SUN09']
    # A config is read before there is any data.
    assert VLCS.source_domains(tmp_path / 'none', 'LabelMe') == ['Caltech101', 'SUN09', 'VOC2007']
    with pytest.raises(ValueError, match="target_domain='VOC2007' is unknown: .*LFI_TARGET_DOMAIN"):
        VLCS.source_domains(vlcs, 'VOC2007')
    assert leave_out(('a', 'b', 'c'), 'b') == ['a', 'c']


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(split='test'), "split='test' is unknown"),
        (dict(domains='SUN09', split='val'), "SUN09 has 4 images .* none for split='val'"),
    ],
)
def test_bad_arguments_are_named(tmp_path, arguments, message):
    root = write_images(tmp_path / 'VLCS', {'SUN09': ('dog',)}, count=4)
    with pytest.raises(ValueError, match=message):
        VLCS(root, **arguments)


def test_a_domain_without_images_of_its_classes_is_named(tmp_path):
    (tmp_path / 'photo/cat').mkdir(parents=True)
    with pytest.raises(ValueError, match='photo has 0 images in the folders dog, elephant'):
        PACS(tmp_path)


def test_the_domain_goes_through_the_pipeline(pacs):
    config = dict(
        type='lfi.PACS', data_root=str(pacs), domains=['photo'], pipeline=PACK, _scope_='mmpretrain'
    )
    sample = DATASETS.build(config)[0]
    assert sample['inputs'].shape == (3, 8, 10)
    assert sample['data_samples'].domain == 'photo'


# ---- the real data -----------------------------------------------------------------------------------


@pytest.mark.parametrize('kind', [PACS, VLCS])
def test_the_real_data(data_root, kind):
    root = data_root(kind.__name__)
    whole, val = (kind(root, split=split, pipeline=PACK, test_mode=True) for split in ('all', 'val'))
    assert set(whole.domains) <= set(kind.DOMAINS)
    assert len(whole.domains) > 2
    sizes = [len(kind(root, domains=domain)) for domain in whole.domains]
    assert len(whole) == sum(sizes)
    assert len(val) == sum(n // 5 for n in sizes)
    assert set(whole.get_gt_labels()) == set(range(len(kind.METAINFO['classes'])))
    for i in (0, len(whole) - 1):
        assert whole[i]['data_samples'].domain == whole.domains[i and -1]
