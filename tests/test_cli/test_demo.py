"""`lfi demo`: the page in a real browser."""

import io
import os
import signal
import subprocess
import sys
import warnings
from types import SimpleNamespace
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import cv2
import numpy as np
import pytest
from lfi.apis import demo_page as demo
from lfi.datasets import Shapes
from lfi.errors import UsageError
from mmcv.transforms import LoadImageFromFile
from PIL import Image
from torch.distributed.elastic.utils.distributed import get_free_port

SHAPES = 'classification/lfi_vit-128x6-p8_shapes.py'
# Python runs it at its start: what the server connects to beyond this machine is written down.
WATCH = """
import os, socket
def watched(name):
    plain = getattr(socket.socket, name)
    def connect(self, address):
        if isinstance(address, tuple) and address[0] not in ('127.0.0.1', 'localhost', '::1'):
            with open(os.environ['WATCHED'], 'a') as file:
                print(address, file=file)
        return plain(self, address)
    return connect
for name in ('connect', 'connect_ex'):
    setattr(socket.socket, name, watched(name))
"""


@pytest.fixture
def watched(tmp_path, tool_env):
    """An environment in which connections to elsewhere are written to a file, and the file."""
    (tmp_path / 'watch').mkdir()
    (tmp_path / 'watch/sitecustomize.py').write_text(WATCH)
    file = tmp_path / 'connections.txt'
    path = os.pathsep.join((str(tmp_path / 'watch'), tool_env['PYTHONPATH']))
    env = {**tool_env, 'PYTHONPATH': path, 'WATCHED': str(file), 'GRADIO_TEMP_DIR': str(tmp_path / 'gradio')}
    return env, file


@pytest.fixture
def server(watched, tool_command, config_path, small_training, tmp_path):
    """The page's address, while the tool serves it."""
    pytest.importorskip('gradio', reason="gradio is not installed: pip install 'lfi[demo]'")
    port = get_free_port()
    # A trained student makes the picture of the docs.
    trained = os.environ.get('LFI_DEMO_CHECKPOINT')
    model = (config_path(SHAPES), trained) if trained else small_training()
    command = tool_command('demo', *model, '--port', port)
    with subprocess.Popen(
        command,
        env=watched[0],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        seen = []
        for line in process.stdout:
            seen.append(line)
            if 'The page is at' in line:
                break
        try:
            assert seen and seen[-1] == f'The page is at http://127.0.0.1:{port}/\n', ''.join(seen)
            yield f'http://127.0.0.1:{port}/'
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)


def test_a_visitor_asks_where_a_text_is(browser, server, watched, tmp_path):
    image = tmp_path / 'image.png'
    cv2.imwrite(str(image), Shapes(split='val', num_images=24).get_data_info(23)['img'])
    page = browser.new_page(viewport=dict(width=1100, height=840))
    page.set_default_timeout(120_000)
    requests, errors = [], []
    page.on('request', lambda request: requests.append(request.url))
    page.on('pageerror', lambda error: errors.append(str(error)))
    page.goto(server)
    ask = page.get_by_role('button', name='Ask')

    ask.click()
    page.get_by_text('Give an image first.').wait_for()

    page.set_input_files('input[type=file]', image)
    page.get_by_role('button', name='Remove Image').wait_for()
    page.get_by_label('Texts, one in each line').fill('red star\n\n  <b>ring</b>\n')
    ask.click()
    picture = page.locator('img[src*="/gradio_api/file="]').last
    page.locator('.json-node').get_by_text('<b>ring</b>').first.wait_for()
    # The image and two maps in a row.
    width, height = picture.evaluate(
        'async img => (await img.decode(), [img.naturalWidth, img.naturalHeight])'
    )
    assert 2 * height < width < 3 * height
    teacher = page.get_by_text("The teacher's maps")
    assert not teacher.is_visible()
    shown = page.locator('body').inner_text()
    assert 'red star' in shown and '"classes"' in shown
    fonts = page.evaluate('getComputedStyle(document.querySelector("button")).fontFamily')
    assert fonts == 'system-ui, sans-serif'
    page.get_by_label('Texts, one in each line').fill('square\ngear\ncross\nring')
    page.get_by_label('Ask the teacher too').check()
    ask.click()
    teacher.wait_for()
    page.locator('.json-node').get_by_text('gear').first.wait_for()
    # The image, and two pictures of maps.
    page.wait_for_function(
        """() => {
            const images = [...document.querySelectorAll('img[src*="/gradio_api/file="]')];
            return images.length == 3 && images.every(image => image.complete && image.naturalWidth);
        }""",
    )
    page.get_by_text('Give an image first.').wait_for(state='hidden')
    page.screenshot(path=os.environ.get('LFI_DEMO_PICTURE', tmp_path / 'page.png'))
    # Nothing on the page sends the picture away.
    assert page.get_by_role('button', name='Share').count() == 0

    blocked = page.evaluate(
        """() => new Promise(resolve => {
            document.addEventListener('securitypolicyviolation', event => resolve(event.blockedURI));
            new Image().src = 'http://192.0.2.1/tracker.png';
        })"""
    )
    assert blocked == 'http://192.0.2.1/tracker.png'
    elsewhere = [url for url in requests if not url.startswith((server, 'data:', 'blob:'))]
    assert set(elsewhere) <= {blocked}
    assert not errors
    assert not watched[1].exists(), watched[1].read_text()
    page.close()


def test_a_large_upload_is_refused(server):
    def upload(size: int) -> int:
        head = b'--part\r\nContent-Disposition: form-data; name="files"; filename="image.png"\r\n\r\n'
        form = {'Content-Type': 'multipart/form-data; boundary=part'}
        body = head + bytes(size) + b'\r\n--part--\r\n'
        try:
            with urlopen(Request(f'{server}gradio_api/upload', body, form)) as answer:
                return answer.status
        except HTTPError as error:
            return error.code

    assert upload(1000) == 200
    assert upload(21 * 10**6) == 413


def test_texts_are_limited():
    assert demo.parse_texts(' red star\n\nring\n') == ['red star', 'ring']
    assert demo.parse_texts('\n') is None
    with pytest.raises(ValueError, match='51 texts are too many: give at most 50'):
        demo.parse_texts('ring\n' * 51)
    with pytest.raises(ValueError, match='a text of 201 characters is too long: give at most 200'):
        demo.parse_texts('ring\n' + 'x' * 201)


def test_texts_are_characters():
    with pytest.raises(ValueError, match='surrogates not allowed'):
        demo.parse_texts('ring\n\ud800')


@pytest.mark.parametrize('port', ['-1', '0', '65536', 'http'])
def test_a_port_is_one(tool_arguments, capsys, port):
    with pytest.raises(SystemExit):
        tool_arguments('demo', 'lfi_vit-128x6-p8_shapes', 'checkpoint.pth', f'--port={port}')
    assert f"--port: must be a whole number from 1 to 65535, got '{port}'" in capsys.readouterr().err


def test_an_upload_is_read_as_images_are_or_says_why_not(tmp_path):
    load = LoadImageFromFile()
    good, bad = tmp_path / 'good.png', tmp_path / 'bad.png'
    cv2.imwrite(str(good), np.full((4, 6, 3), (1, 2, 3), np.uint8))
    assert demo.load_upload(str(good), load)[0, 0].tolist() == [1, 2, 3]
    cv2.imwrite(str(good), np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))
    bad.write_bytes(good.read_bytes()[:400])
    with pytest.raises(ValueError, match='^This image cannot be read .*truncated') as refused:
        demo.load_upload(str(bad), load)
    assert str(tmp_path) not in str(refused.value)
    bad.write_text('<svg/>')
    with pytest.raises(ValueError, match=r'^This image cannot be read \(its format is unknown\)$'):
        demo.load_upload(str(bad), load)


def test_a_page_limits_what_it_is_given(monkeypatch):
    launched = {}

    class Page:
        def launch(self, **settings):
            launched.update(settings)
            return None, 'http://127.0.0.1:7860/', None

        def block_thread(self):
            image = Image.new('1', (8192, 4097))
            buffer = io.BytesIO()
            image.save(buffer, 'PNG')
            assert buffer.tell() < 10**5
            with pytest.raises(Image.DecompressionBombWarning):
                Image.open(buffer)

    themes = SimpleNamespace(Base=lambda **fonts: None)
    monkeypatch.setitem(sys.modules, 'gradio', SimpleNamespace(themes=themes))
    monkeypatch.setitem(sys.modules, 'starlette.middleware', SimpleNamespace(Middleware=lambda app: app))
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', Image.MAX_IMAGE_PIXELS)
    with warnings.catch_warnings():
        demo.serve(Page(), None)
    assert launched['max_file_size'] == '20mb'
    assert launched['server_name'] == '127.0.0.1' and launched['share'] is False


def test_without_gradio_it_says_what_to_install(call_tool, monkeypatch):
    monkeypatch.setitem(sys.modules, 'gradio', None)
    with pytest.raises(UsageError, match=r"the page needs gradio: pip install 'lfi\[demo\]'"):
        call_tool('demo', 'lfi_vit-128x6-p8_shapes', 'checkpoint.pth')
