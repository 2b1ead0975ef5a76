"""Tables of paths and labels, written by Python's csv."""

import pytest
from lfi.errors import UsageError
from lfi.new_config import find_data
from picture_files import write_noise
from small_data_sets import write_table

ROWS = [('0.jpg', 'cat'), ('1.jpg', 'dog'), ('2.jpg', 'cat'), ('3.jpg', 'dog')]


def labels_of(images, classes):
    return [(image.path, *(classes[index] for index in image.classes)) for image in images]


@pytest.mark.parametrize('name', ['labels.csv', 'labels.tsv'])
@pytest.mark.parametrize('header', [('path', 'label'), ('Image', 'Tags'), None])
def test_rows_come_back(header, name, tmp_path):
    rows = [header, *ROWS] if header else ROWS
    write_table(tmp_path / name, rows, delimiter='\t' if name.endswith('tsv') else ',')
    data = find_data(tmp_path, tmp_path)
    assert (data.task, data.classes) == ('classification', ('cat', 'dog'))
    assert labels_of(data.train, data.classes) == ROWS
    assert find_data(tmp_path / name, tmp_path) == data


def test_labels_may_have_commas_and_columns_any_order(tmp_path):
    rows = [
        ('id', 'category', 'file'),
        *((i, 'cat, tabby' if i % 2 else 'dog', f'{i}.jpg') for i in range(4)),
    ]
    data = find_data(write_table(tmp_path / 'labels.csv', rows), tmp_path)
    assert data.classes == ('cat, tabby', 'dog')
    assert data.train[1].path == '1.jpg' and data.train[1].classes == (0,)


def test_a_table_of_the_test_rows_alone_is_read(tmp_path):
    rows = [('path', 'label', 'split'), *((*row, 'test') for row in ROWS)]
    data = find_data(write_table(tmp_path / 'labels.csv', rows), tmp_path)
    assert labels_of(data.train, data.classes) == ROWS and not data.val
    assert data.notes == ('all rows are of the split test: they are read as a data set without a split',)


def test_an_image_in_two_splits_is_named(tmp_path):
    rows = [('path', 'label', 'split'), *((*row, 'train') for row in ROWS), ('0.jpg', 'cat', 'val')]
    file = write_table(tmp_path / 'labels.csv', rows)
    with pytest.raises(
        UsageError, match='names 0.jpg in the lines 2 and 6: it is in train and in val, so rem'
    ):
        find_data(file, tmp_path)


def test_semicolons_may_separate_columns(tmp_path):
    file = write_table(tmp_path / 'labels.csv', [('path', 'label'), *ROWS], delimiter=';')
    assert labels_of((data := find_data(file, tmp_path)).train, data.classes) == ROWS


@pytest.mark.parametrize(
    'rows',
    [
        [('path', 'tags'), ('0.jpg', 'cat|red'), ('1.jpg', ''), ('2.jpg', 'red'), ('3.jpg', 'cat ; red')],
        [('path', 'cat', 'red'), ('0.jpg', 1, 1), ('1.jpg', 0, 0), ('2.jpg', 0, 1), ('3.jpg', 1, 1)],
    ],
)
def test_several_labels(rows, tmp_path):
    data = find_data(write_table(tmp_path / 'labels.csv', rows), tmp_path)
    assert (data.task, data.classes) == ('multi-label classification', ('cat', 'red'))
    assert [image.classes for image in data.train] == [(0, 1), (), (1,), (0, 1)]


def test_a_column_gives_the_split(tmp_path):
    splits = ['train', 'Training', 'val', 'test']
    rows = [('path', 'label', 'split'), *((*row, split) for row, split in zip(ROWS, splits))]
    data = find_data(write_table(tmp_path / 'labels.csv', rows), tmp_path)
    assert [image.path for image in data.val] == ['2.jpg']
    assert data.notes == ('the split test is left out: val validates',)


def test_images_may_lie_in_images_or_anywhere(tmp_path):
    for number in range(4):
        write_noise(tmp_path / 'images' / f'{number}.jpg', number)
    file = write_table(tmp_path / 'labels.csv', ROWS, count=0)
    assert find_data(file, tmp_path).root == tmp_path / 'images'
    rows = [(tmp_path / 'images' / path, label) for path, label in ROWS]
    data = find_data(write_table(file, rows, count=0), tmp_path)
    assert data.train[0].path == str(tmp_path / 'images/0.jpg')


@pytest.mark.parametrize(
    ('rows', 'message'),
    [
        (
            [('path', 'label'), *ROWS[:2], ('2.jpg', '')],
            r'1 rows of \S+ have no label, the first is line 4: write a',
        ),
        (
            [('path', 'label'), *ROWS, ('9.jpg', 'cat')],
            r'1 of 5 images \S+ \S+ do not exist, the first in line 6: ',
        ),
        (
            [('path', 'label'), *ROWS, ROWS[0]],
            'names 0.jpg in the lines 2 and 6: write each image once, and several',
        ),
        (
            [('path', 'label'), *ROWS, ('1.jpg', 'a', 'b')],
            "line 6 of .* has 3 columns, and needs 2, a path and .* ','",
        ),
        ([('path', 'label'), ROWS[0], ROWS[2]], "one class, 'cat', and a classifier needs two"),
        ([('path', 'label')], 'has a header and no row'),
        ([], 'is empty: write a path and a label in each row'),
        (
            [('path', 'label', 'split'), (*ROWS[0], 'holdout')],
            "line 2 .* has split='holdout': write train, val or test",
        ),
        (
            [('path', 'label', 'split'), *((*row, 'train') for row in ROWS[:2]), ('2.jpg', 'bird', 'val')],
            "line 4 of .* validates the class 'bird', which no row of train has",
        ),
    ],
)
def test_wrong_tables_are_refused_in_one_line(rows, message, tmp_path):
    with pytest.raises(UsageError, match=message) as error:
        find_data(write_table(tmp_path / 'labels.csv', rows), tmp_path)
    assert '\n' not in str(error.value)


def test_other_encodings_are_refused(tmp_path):
    (tmp_path / 'labels.csv').write_bytes('path,label\n0.jpg,Häuser\n'.encode('latin-1'))
    with pytest.raises(UsageError, match='cannot be read: .* Save it as UTF-8'):
        find_data(tmp_path, tmp_path)


def test_a_column_of_labels_is_not_guessed_among_several(tmp_path):
    rows = [('file', 'source', 'species'), *((path, 'flickr', label) for path, label in ROWS)]
    file = write_table(tmp_path / 'labels.csv', rows)
    with pytest.raises(UsageError, match='has the columns file, source, species, and none is named label'):
        find_data(file, tmp_path)
