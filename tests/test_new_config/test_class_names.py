"""Names of classes: WordNet ids become words, a file renames them, and empty names are noted."""

import pytest
from lfi.errors import UsageError
from lfi.new_config import find_data
from lfi.new_config.class_names import check_class_names, with_texts
from small_data_sets import write_class_folders


def checked(root):
    return check_class_names(find_data(root, root))


def test_wordnet_ids_become_words(tmp_path):
    # Goldfish; two senses of crane; and a synset outside ImageNet-1k.
    ids = ('n01443537', 'n02012849', 'n03126707', 'n00005787')
    data = checked(write_class_folders(tmp_path, ids, count=1))
    assert data.classes[:2] == ('benthos', 'goldfish')
    assert len(set(data.classes)) == 4
    (note,) = data.notes
    assert note == "WordNet ids name the classes, and LFI takes their words: n00005787 is 'benthos', …"


def test_unknown_wordnet_ids_are_noted(tmp_path):
    data = checked(write_class_folders(tmp_path, ('n99999998', 'n99999999')))
    assert data.classes == ('n99999998', 'n99999999')
    (note,) = data.notes
    assert note.startswith("class names such as 'n99999998' tell the teacher nothing")


def test_other_names_stay(tmp_path):
    data = checked(write_class_folders(tmp_path, ('n01443537', 'dog')))
    assert data.classes == ('dog', 'n01443537')


def test_texts_rename_the_classes(tmp_path):
    data = find_data(write_class_folders(tmp_path, ('class1', 'class2')), tmp_path)
    renamed = check_class_names(with_texts(data, ('a red barn', 'a dog')))
    assert renamed.classes == ('a red barn', 'a dog')
    assert renamed.notes == ("--concepts names the classes: 'class1' is 'a red barn', …",)
    with pytest.raises(UsageError, match='has 1 names, and .* has 2 classes: write one for each of class1 |'):
        with_texts(data, ('a dog',))


def test_a_class_may_lose_all_its_images(tmp_path):
    write_class_folders(tmp_path, count=1)
    (tmp_path / 'cat/0.jpg').write_bytes(b'no image')
    assert "classes without a training image: 1, such as 'cat'" in checked(tmp_path).notes


@pytest.mark.parametrize(
    ('classes', 'note'),
    [
        (
            ('a_b', 'a b', 'c'),
            "the classes 'a b' and 'a_b' are the same text for the teacher, which cannot tell",
        ),
        (('0', '1', '2'), "class names such as '0' tell the teacher nothing: give words by --concepts FILE"),
        (('class_1', 'dog'), "class names such as 'class_1' tell the teacher nothing"),
    ],
)
def test_names_that_tell_the_teacher_nothing_are_noted(classes, note, tmp_path):
    (found,) = checked(write_class_folders(tmp_path, classes)).notes
    assert found.startswith(note)
