"""Phrases of captions, and the transform that finds them among the concepts."""

import builtins
import json

import pytest
from lfi.concepts import CaptionPhrases, concept_names
from lfi.concepts.caption_phrases import noun_phrases, read_captions
from lfi.datasets import LoadCaptionConcepts
from lfi.datasets.transforms import loading

FLICKR = """a.jpg#0\tA man riding a wave on top of a surfboard.
a.jpg#1\tThe man surfs on a big wave
b.jpg#0\tTwo dogs in the water , a wave behind them .
"""


@pytest.fixture
def flickr(tmp_path):
    path = tmp_path / 'captions.txt'
    path.write_text(FLICKR)
    return path


@pytest.fixture
def coco(tmp_path):
    path = tmp_path / 'captions.json'
    content = dict(
        images=[dict(id=7, file_name='a.jpg'), dict(id=3, file_name='b.jpg')],
        annotations=[
            dict(id=1, image_id=3, caption='Two dogs in the water'),
            dict(id=2, image_id=7, caption='A man on a wave'),
            dict(id=3, image_id=7, caption='a surfer'),
        ],
    )
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    ('caption', 'phrases'),
    [
        ('A man riding a wave on top of a surfboard.', ['man', 'wave', 'surfboard']),
        ('Two young children in their bright red shirts', ['young children', 'bright red shirts']),
        ('a striped red star left of a small blue ring', ['striped red star', 'small blue ring']),
        ('It runs. A double-decker bus stands there!', ['double-decker bus']),
        ('jumping', []),
        ('', []),
    ],
)
def test_noun_phrases(caption, phrases):
    assert noun_phrases(caption) == phrases


def test_captions_of_flickr_and_coco(flickr, coco):
    captions = read_captions(flickr)
    assert list(captions) == ['a.jpg', 'b.jpg']
    assert captions['a.jpg'][1] == 'The man surfs on a big wave'
    assert read_captions(str(coco)) == {
        'b.jpg': ['Two dogs in the water'],
        'a.jpg': ['A man on a wave', 'a surfer'],
    }


@pytest.mark.parametrize(
    ('name', 'text'), [('c.txt', 'a.jpg no tab'), ('c.json', '{"images": []}'), ('c.json', '{')]
)
def test_a_file_without_captions_is_named(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=rf'{name} holds no captions: expected COCO'):
        read_captions(tmp_path / name)


def test_names_and_captions_of_all_kinds(tmp_path):
    text = '\ufeffa.jpg#0\tOne\u2028line\nimg#1.jpg#0\tone\r\nimg#2.jpg\ttwo\n'
    path = tmp_path / 'c.txt'
    path.write_bytes(text.encode())
    assert read_captions(path) == {'a.jpg': ['One\u2028line'], 'img#1.jpg': ['one'], 'img#2.jpg': ['two']}
    path.write_text('cats/1.jpg#0\ta cat\ndogs/1.jpg#0\ta dog\n')
    with pytest.raises(
        ValueError, match='captions of cats/1.jpg and dogs/1.jpg, but images are identified by'
    ):
        read_captions(path)


def test_case_tells_no_phrases_apart_and_nothing_is_no_phrase(tmp_path):
    path = tmp_path / 'c.txt'
    path.write_text('a.jpg#0\tA dog\nb.jpg#0\ta dog\nc.jpg#0\t \nd.jpg#0\ta cat\n')
    assert CaptionPhrases.class_names(path, 'caption', min_count=1) == ['A dog', 'a cat']


def test_phrases_name_the_concepts_most_frequent_first(flickr):
    assert CaptionPhrases.class_names(flickr) == ['wave']
    assert CaptionPhrases.class_names(flickr, min_count=1)[:3] == ['wave', 'man', 'surfboard']
    complete = concept_names(
        dict(type='lfi.CaptionPhrases', ann_file=str(flickr), splitter='caption', min_count=1)
    )
    assert complete[1] == 'The man surfs on a big wave'
    with pytest.raises(ValueError, match=r'min_count=9 leaves none of the \d+ phrases of'):
        CaptionPhrases.class_names(flickr, min_count=9)
    with pytest.raises(ValueError, match="splitter='words' is unknown; choose from"):
        CaptionPhrases.class_names(flickr, splitter='words')


def test_without_textblob_the_error_says_what_to_install(monkeypatch):
    own = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith('textblob'):
            raise ModuleNotFoundError(name)
        return own(name, *args, **kwargs)

    monkeypatch.setattr(builtins, '__import__', without)
    with pytest.raises(ImportError, match=r"needs TextBlob: pip install 'lfi\[captions\]'"):
        noun_phrases('a cat')


def test_an_images_phrases_are_found_in_the_bank(flickr):
    load = LoadCaptionConcepts(['cat', 'wave', 'surfboard', 'man'], ann_file=flickr)
    assert load({'img_path': '/any/where/a.jpg'})['gt_concepts'].tolist() == [1, 2, 3]
    assert load({'img_path': 'c.jpg'})['gt_concepts'].tolist() == []


@pytest.mark.parametrize('caption', ['a star left of a ring', ['a star', 'the ring of a star']])
def test_a_data_sets_own_captions_serve(caption):
    load = LoadCaptionConcepts(dict(type='lfi.Shapes', extra=['star', 'ring']))
    names = concept_names(dict(type='lfi.Shapes', extra=['star', 'ring']))
    found = load({'caption': caption})['gt_concepts'].tolist()
    assert {names[index] for index in found} == {'star', 'ring'}


def test_classes_of_one_name_are_all_spoken_of():
    found = LoadCaptionConcepts(dict(type='lfi.ImageNetNames'))({'caption': 'a missile'})['gt_concepts']
    assert found.tolist() == [657, 744]


def test_concepts_with_capitals_are_found():
    load = LoadCaptionConcepts(['Egyptian cat', 'dog', 'CD player'])
    found = load({'caption': 'An Egyptian cat sits beside a CD player.'})['gt_concepts']
    assert found.tolist() == [0, 2]


@pytest.mark.parametrize('named_at', [None, 5])
def test_captions_that_name_no_concept_are_told_once(named_at, monkeypatch):
    said = []
    monkeypatch.setattr(loading, 'print_log', lambda text, *_: said.append(text))
    load = LoadCaptionConcepts(['circle'], splitter='caption')
    for index in range(250):
        load({'caption': 'circle' if index == named_at else 'a white circle'})
    assert len(said) == (named_at is None)
    assert all("no phrase of 100 images is a concept, such as 'a white circle'" in text for text in said)


def test_a_data_set_without_captions_is_named():
    with pytest.raises(ValueError, match=r'a\.jpg has no caption: set ann_file of lfi.LoadCaptionConcepts'):
        LoadCaptionConcepts(['dog']).transform(dict(img_path='a.jpg'))
