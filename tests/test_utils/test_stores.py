"""Files in object stores: whole objects, retries, and local copies."""

import os
import time
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from lfi.utils import stores
from lfi.utils.stores import (
    LocalCopies,
    StoreError,
    exists,
    is_address,
    join,
    list_files,
    local_path,
    match_objects,
    public_address,
    read_ahead,
    read_start,
    remove_file,
    write_file,
)

from tools.dev.s3_store import BUCKET, FaultyProxy, environment, s3_server

pytest.importorskip('s3fs')
pytest.importorskip('moto')

CONTENT = bytes(range(256)) * 400


@pytest.fixture(scope='module')
def port():
    with s3_server() as port:
        yield port


@pytest.fixture(autouse=True)
def quick(monkeypatch, tmp_path):
    monkeypatch.setattr(stores, 'FIRST_WAIT', 0.01)
    monkeypatch.setenv('LFI_COPIES', str(tmp_path / 'copies'))


@pytest.fixture
def folder(port, request):
    return f's3://{BUCKET}/{request.node.name.partition("[")[0]}'


@pytest.mark.parametrize(
    ('path', 'expected'),
    [('s3://a/b', True), ('hf://datasets/a/b', True), ('/a/b', False), ('a:b', False), ('tar://a', False)],
)
def test_addresses_are_told_from_paths(path, expected):
    assert is_address(path) is expected


def test_messages_have_no_password_and_no_signature():
    assert public_address('https://me:word@host/a.tar?X-Signature=1') == 'https://host/a.tar'


def test_objects_are_written_listed_copied_and_removed(folder, tmp_path):
    assert list_files(folder) == {}
    before = time.time() - 2
    for name in ('b.bin', 'a.bin', 'sub/c.bin'):
        write_file(join(folder, name), CONTENT)
    found = list_files(folder)
    assert sorted(found) == ['a.bin', 'b.bin']
    assert found['a.bin'].size == len(CONTENT) and before < found['a.bin'].modified < time.time() + 2
    assert match_objects(f'{folder}/*.bin') == [f'{folder}/a.bin', f'{folder}/b.bin']
    copy = local_path(join(folder, 'a.bin'))
    assert copy.read_bytes() == CONTENT and copy.name == 'a.bin' and tmp_path in copy.parents
    # It is copied once, and again after a change.
    status = copy.stat()
    assert local_path(join(folder, 'a.bin')).stat().st_ino == status.st_ino
    write_file(join(folder, 'a.bin'), CONTENT[:-1] + b'x')
    assert local_path(join(folder, 'a.bin')).read_bytes() == CONTENT[:-1] + b'x'
    remove_file(join(folder, 'a.bin'))
    remove_file(join(folder, 'a.bin'))
    assert sorted(list_files(folder)) == ['b.bin']
    with pytest.raises(FileNotFoundError, match=r'a\.bin: there is no such object'):
        local_path(join(folder, 'a.bin'))


def test_local_paths_are_as_they_are(tmp_path):
    path = join(str(tmp_path), 'a.bin')
    write_file(path, CONTENT)
    assert local_path(path).read_bytes() == CONTENT and list_files(str(tmp_path))['a.bin'].size == len(
        CONTENT
    )
    remove_file(path)
    assert list_files(str(tmp_path)) == {}


def test_copies_of_long_ago_make_room(folder, tmp_path):
    copies = LocalCopies(tmp_path / 'few', 2 * len(CONTENT))
    paths = []
    for name in 'abcd':
        write_file(join(folder, name), CONTENT)
    for age, name in zip((900, 800, 700), 'abc'):
        paths.append(copies.get(join(folder, name)))
        os.utime(paths[-1], (time.time() - age,) * 2)
    paths.append(copies.get(join(folder, 'd')))
    assert [path.exists() for path in paths] == [False, False, True, True]
    # What is in use stays, even if it needs more.
    small = LocalCopies(tmp_path / 'small', 1)
    assert all(small.get(join(folder, name)).exists() for name in 'ab')


def test_the_next_copy_is_made_while_one_is_read(folder, tmp_path):
    for name in 'ab':
        write_file(join(folder, name), CONTENT)
    addresses = [[join(folder, 'a')], [join(folder, 'b')]]
    groups = read_ahead(addresses)
    assert next(groups) == addresses[0]
    end = time.monotonic() + 20
    while not list((tmp_path / 'copies').glob('*/*/b')) and time.monotonic() < end:
        time.sleep(0.01)
    assert list((tmp_path / 'copies').glob('*/*/b'))
    assert list(groups) == addresses[1:]


def test_a_copy_that_is_being_made_is_waited_for(folder, monkeypatch):
    address, downloads = join(folder, 'a'), []
    write_file(address, CONTENT)
    download = LocalCopies._download

    def slow(*arguments):
        downloads.append(arguments)
        time.sleep(0.3)
        download(*arguments)

    monkeypatch.setattr(LocalCopies, '_download', staticmethod(slow))
    with ThreadPoolExecutor(3) as pool:
        copies = set(pool.map(local_path, [address] * 3))
    assert len(copies) == len(downloads) == 1
    assert copies.pop().read_bytes() == CONTENT


def test_the_start_of_an_object_is_read(folder):
    address = join(folder, 'a')
    write_file(address, CONTENT)
    assert read_start(address, 7) == CONTENT[:7]
    assert read_start(address, len(CONTENT) + 1) == CONTENT
    with pytest.raises(FileNotFoundError, match='there is no such object'):
        read_start(join(folder, 'b'), 7)


def test_a_bucket_that_is_not_there_is_named(folder):
    with pytest.raises(StoreError, match='s3://gone/a cannot be written: there is no such bucket'):
        write_file('s3://gone/a', CONTENT)


def test_an_object_of_equal_size_is_copied_again(folder):
    address = join(folder, 'a.bin')
    write_file(address, CONTENT)
    assert local_path(address).read_bytes() == CONTENT
    # Within the same second.
    write_file(address, CONTENT[::-1])
    assert local_path(address).read_bytes() == CONTENT[::-1]


def test_a_store_without_its_package_is_named():
    with pytest.raises(StoreError, match=r"nosuch://a/b cannot be opened: .*pip install 'lfi\[scale\]'"):
        local_path('nosuch://a/b')


@pytest.fixture
def proxy(port):
    proxy = FaultyProxy(port)
    with environment(proxy.port):
        yield proxy
    proxy.close()


@pytest.mark.parametrize(
    ('kind', 'method'),
    [
        ('500', 'GET'),
        ('503', 'HEAD'),
        ('reset', 'GET'),
        ('reset', 'PUT'),
        ('500', 'PUT'),
        ('truncated', 'GET'),
        ('shorter', 'GET'),
        ('slow', 'GET'),
        ('stall', 'GET'),
        ('skew', 'GET'),
    ],
)
def test_a_fault_is_retried(proxy, folder, kind, method):
    address = join(folder, 'a.bin')
    if method == 'PUT':
        proxy.inject(kind, method, 'a.bin')
        write_file(address, CONTENT)
    else:
        write_file(address, CONTENT)
        proxy.inject(kind, method, 'a.bin')
    assert local_path(address).read_bytes() == CONTENT
    assert proxy.injected == [kind]


def test_each_piece_of_a_large_object_is_checked(proxy, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(stores, 'PIECE', len(CONTENT) // 3)
    address = join(folder, 'a.bin')
    write_file(address, CONTENT)
    for kind in ('shorter', 'truncated', '500'):
        proxy.inject(kind, 'GET', 'a.bin')
        monkeypatch.setenv('LFI_COPIES', str(tmp_path / kind))
        assert local_path(address).read_bytes() == CONTENT
        assert proxy.injected[-1] == kind


def test_an_object_that_changes_meanwhile_is_read_again(folder, monkeypatch):
    address = join(folder, 'a.bin')
    write_file(address, CONTENT)
    monkeypatch.setattr(stores, 'PIECE', len(CONTENT) // 3)
    files, _ = stores.filesystem(address)
    cat_file, changes = files.cat_file, []

    def change_and_cat(*args, **kwargs):
        if not changes:
            changes.append(1)
            write_file(address, CONTENT[::-1])
        return cat_file(*args, **kwargs)

    monkeypatch.setattr(files, 'cat_file', change_and_cat, raising=False)
    assert local_path(address).read_bytes() == CONTENT[::-1]


def test_other_files_of_the_folder_of_copies_stay(folder, tmp_path, monkeypatch):
    (tmp_path / 'copies/mine').mkdir(parents=True)
    mine = tmp_path / 'copies/mine/results.csv'
    mine.write_text('mine')
    os.utime(mine, (0, 0))
    monkeypatch.setenv('LFI_COPIES_GB', '1e-9')
    write_file(join(folder, 'a'), CONTENT)
    assert local_path(join(folder, 'a')).exists() and mine.read_text() == 'mine'


@pytest.mark.parametrize('size', ['inf', '0', 'many'])
def test_a_size_that_is_none_is_named(folder, size, monkeypatch):
    monkeypatch.setenv('LFI_COPIES_GB', size)
    with pytest.raises(StoreError, match=f'LFI_COPIES_GB={size} must be a number above 0'):
        local_path(join(folder, 'a'))


@pytest.mark.parametrize('code', ['403', '507'])
def test_what_would_fail_again_is_one_line(proxy, folder, code, monkeypatch):
    monkeypatch.setattr(stores, 'ATTEMPTS', 3)
    address = join(folder, 'a.bin')
    proxy.inject(code, 'PUT', 'a.bin', 99)
    with pytest.raises(StoreError, match=r'a\.bin cannot be written') as caught:
        write_file(address, CONTENT)
    assert '\n' not in str(caught.value) and 'secret' not in str(caught.value)
    proxy.faults.clear()
    assert list_files(folder) == {}


def test_a_full_disk_loses_old_copies(folder, tmp_path, monkeypatch):
    copies, disk = LocalCopies(tmp_path / 'disk', 10**9), namedtuple('disk', 'free')
    for name in 'ab':
        write_file(join(folder, name), CONTENT)
    old = copies.get(join(folder, 'a'))
    os.utime(old, (0, 0))
    monkeypatch.setattr(stores.shutil, 'disk_usage', lambda folder: disk(len(CONTENT) - 1))
    assert copies.get(join(folder, 'b')).exists() and not old.exists()


def test_a_slow_part_stays(folder, tmp_path):
    copies = LocalCopies(tmp_path / 'slow', 1)
    for name in 'ab':
        write_file(join(folder, name), CONTENT)
    parts = [copies.get(join(folder, 'a')).with_name(f'{age}.partial') for age in (600, 7200)]
    for age, part in zip((600, 7200), parts):
        part.touch()
        os.utime(part, (time.time() - age,) * 2)
    copies.get(join(folder, 'b'))
    assert [part.exists() for part in parts] == [True, False]


def test_an_object_is_told_from_none(folder, tmp_path):
    for path in (join(folder, 'a'), str(tmp_path / 'a')):
        assert not exists(path)
        write_file(path, CONTENT)
        assert exists(path)


class Web:
    """A web server of one object, which counts requests.

    Args:
        status: status of its answers.
        headers: headers of its answers.
        is_signed: whether requests are redirected, each time to another address.
    """

    def __init__(self, status=200, headers=(), is_signed=False):
        web, self.requests = self, 0

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                web.requests += 1
                if is_signed and '?' not in self.path:
                    self.send_response(302)
                    self.send_header('Location', f'{self.path}?signature={web.requests}')
                    self.send_header('Content-Length', '0')
                    self.end_headers()
                    return
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header('Content-Length', str(len(CONTENT)))
                self.end_headers()
                if self.command == 'GET':
                    self.wfile.write(CONTENT)

            do_HEAD = do_GET

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f'http://127.0.0.1:{self.server.server_port}/a.bin'


@pytest.fixture
def web():
    servers = []

    def serve(*args, **kwargs):
        servers.append(Web(*args, **kwargs))
        return servers[-1]

    yield serve
    for server in servers:
        server.server.shutdown()
        server.server.server_close()


def test_a_redirect_with_a_new_signature_is_followed(web):
    address = web(headers=[('ETag', '"1"')], is_signed=True).address
    copy = local_path(address)
    assert copy.read_bytes() == CONTENT and local_path(address) == copy


def test_a_server_that_cannot_tell_a_change_is_refused(web):
    with pytest.raises(StoreError, match=r'a\.bin: the server sends neither an ETag nor a time'):
        local_path(web().address)


@pytest.mark.parametrize('status', [401, 403])
def test_a_refused_access_to_a_web_server_is_final(web, status):
    server = web(status=status)
    with pytest.raises(StoreError, match=rf'cannot be read: access is refused \(status {status}\)'):
        local_path(server.address)
    # fsspec asks by HEAD, and then by GET.
    assert server.requests <= 2


def test_an_object_that_is_gone_is_missing(web):
    with pytest.raises(FileNotFoundError, match='there is no such object'):
        local_path(web(status=410).address)


def test_no_reason_has_a_password(monkeypatch):
    def fail():
        raise OSError('Cannot connect to https://me:word@host/a.tar?X-Signature=1')

    monkeypatch.setattr(stores, 'ATTEMPTS', 1)
    with pytest.raises(StoreError, match='Cannot connect to https://host/a.tar$'):
        stores.retried(fail, 'read', 's3://a/b')


@pytest.mark.parametrize('function', [local_path, list_files, exists, remove_file])
def test_an_address_with_a_password_is_refused(function):
    with pytest.raises(StoreError, match='https://host/a has a password or a query') as caught:
        function('https://me:word@host/a')
    assert 'word@' not in str(caught.value)
