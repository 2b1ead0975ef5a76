"""Which files below a folder are images, and which of other formats are left out."""

from lfi.folders import image_names


def test_images_of_other_formats_are_counted(tmp_path, warnings):
    for name in ('a.JPG', 'below/b.png', 'c.gif', 'below/d.GIF', 'e.heic', 'notes.txt'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert sorted(image_names(tmp_path)) == ['a.JPG', 'below/b.png']
    assert len(warnings) == 1 and 'are left out: 2 .gif, 1 .heic' in warnings[0]


def test_other_files_are_no_images(tmp_path, warnings):
    (tmp_path / 'notes.txt').touch()
    assert image_names(tmp_path) == [] and not warnings
