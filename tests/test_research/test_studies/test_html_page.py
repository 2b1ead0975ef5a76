"""A page in one file."""

import base64
import io
import re

import pytest
from matplotlib.figure import Figure
from PIL import Image

from research.studies.html_page import html_page

TABLE = '| run | top-1 |\n| --- | --- |\n| lfi <b> | 91.0 |\n'


@pytest.fixture
def page():
    figure = Figure(figsize=(2, 1))
    figure.suptitle('curves "by" epoch')
    return html_page('A & B', ['Two runs.', TABLE, figure, '```bash\nls <folder>\n```'])


def test_its_parts_stand_in_their_order(page):
    places = [page.index(text) for text in ('<h1>A &amp; B</h1>', 'Two runs.', '<table>', '<img', '<pre>')]
    assert places == sorted(places)
    assert '<td>91.0</td>' in page and '<title>A &amp; B</title>' in page


def test_a_picture_lies_in_the_page(page):
    (data,) = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (220, 110)
    assert 'alt="curves &quot;by&quot; epoch"' in page


def test_nothing_is_fetched_and_what_is_typed_is_shown(page):
    assert not re.search(r'(src|href)="(?!data:)|url\(|@import|<script', page)
    assert 'lfi &lt;b&gt;' in page and 'ls &lt;folder&gt;' in page
