"""The search for a data set's format."""

import pytest
from lfi.errors import UsageError
from lfi.new_config import find_data
from small_data_sets import write_class_folders, write_coco, write_table, write_yolo

TABLE = [('path', 'label'), ('0.jpg', 'cat'), ('1.jpg', 'dog')]


def write_yolo_and_coco(root):
    write_yolo(root)
    write_coco(root)


def write_broken_json(root):
    write_class_folders(root)
    (root / 'train.json').write_text('{"images": [')


def write_two_tables(root):
    root.mkdir()
    for name in ('a.csv', 'b.csv'):
        write_table(root / name, TABLE)


@pytest.mark.parametrize(
    ('write', 'file', 'message'),
    [
        (lambda root: None, '', 'DATA .*data does not exist'),
        (
            write_yolo_and_coco,
            '',
            r'has several formats: YOLO \(data.yaml\), COCO JSON. Give the file that describes',
        ),
        (write_two_tables, '', r'has several formats: a table \(a.csv\), a table \(b.csv\)'),
        (write_broken_json, '', 'train.json cannot be read: .*Repair it, or remove it'),
        (write_broken_json, 'train.json', 'train.json cannot be read: .*Repair it, or remove it'),
        (
            write_class_folders,
            'cat/0.jpg',
            'DATA .*0.jpg is none of: a folder, a CSV or TSV of paths and labels, a',
        ),
    ],
)
def test_what_is_no_data_set_is_refused_in_one_line(write, file, message, tmp_path):
    if 'yolo' in write.__name__:
        pytest.importorskip('supervision')
    write(tmp_path / 'data')
    with pytest.raises(UsageError, match=message) as error:
        find_data(tmp_path / 'data' / file, tmp_path)
    assert '\n' not in str(error.value)


def test_a_path_may_be_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(write_class_folders(tmp_path / 'data'))
    (tmp_path / 'other').mkdir()
    monkeypatch.chdir(tmp_path / 'other')
    assert find_data(type(tmp_path)('../data'), tmp_path).root == tmp_path / 'data'


def test_a_table_describes_the_folders_beside_it(tmp_path):
    write_class_folders(tmp_path)
    write_table(tmp_path / 'labels.csv', [('path', 'label'), ('cat/0.jpg', 'a'), ('dog/0.jpg', 'b')], count=0)
    assert find_data(tmp_path, tmp_path).classes == ('a', 'b')
