"""S3 server on the loopback address, and a proxy before it that injects faults."""

from __future__ import annotations

import contextlib
import gc
import http.client
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BUCKET = 'bucket'


@contextlib.contextmanager
def s3_server() -> Iterator[int]:
    """Run moto's server, and set the environment in which clients find it; yield its port.

    Raises:
        ImportError: if moto or s3fs is not installed.
    """
    import boto3
    from moto.server import ThreadedMotoServer

    logging.getLogger('werkzeug').setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address='127.0.0.1', port=0, verbose=False)
    server.start()
    port = server.get_host_and_port()[1]
    try:
        with environment(port):
            boto3.client('s3').create_bucket(Bucket=BUCKET)
            yield port
    finally:
        server.stop()


@contextlib.contextmanager
def environment(port: int) -> Iterator[None]:
    """Set the environment in which clients find the server of a port."""
    from s3fs import S3FileSystem

    values = {
        'AWS_ACCESS_KEY_ID': 'key',
        'AWS_SECRET_ACCESS_KEY': 'secret',
        'AWS_DEFAULT_REGION': 'us-east-1',
        'AWS_ENDPOINT_URL': f'http://127.0.0.1:{port}',
    }
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    forget_clients(S3FileSystem)
    try:
        yield
    finally:
        forget_clients(S3FileSystem)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def forget_clients(filesystem: type) -> None:
    """Forget the clients that fsspec keeps, which are those of another port."""
    filesystem.clear_instance_cache()
    # A forked process cannot close what it finds as garbage: the event loop is that of its parent.
    gc.collect()


class FaultyProxy:
    """Proxy that hands requests to a server, and does what `faults` say to the first ones that match.

    The fault `'stale'` answers a request for a listing as the first such request was answered.

    Args:
        port: port of the server.
    """

    def __init__(self, port: int) -> None:
        self.faults: list[tuple[str, str, str]] = []
        self.stall_seconds = 3.0
        self.injected: list[str] = []
        self.listings: dict[str, bytes] = {}
        self.lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def handle_one(self) -> None:
                body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
                kind = proxy.next_fault(self.command, self.path)
                if kind == 'reset':
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b'\1\0\0\0\0\0\0\0')
                    self.connection.close()
                    self.close_connection = True
                    return
                if kind and kind.isdigit():
                    self.send_response(int(kind))
                    self.send_header('Content-Length', '0')
                    self.end_headers()
                    return
                connection = http.client.HTTPConnection('127.0.0.1', port)
                connection.request(self.command, self.path, body, dict(self.headers))
                answer = connection.getresponse()
                content = answer.read()
                if 'list-type' in self.path:
                    first = proxy.listings.setdefault(self.path, content)
                    content = first if kind == 'stale' else content
                if kind == 'stall':
                    time.sleep(proxy.stall_seconds)
                headers = [
                    (name, value)
                    for name, value in answer.getheaders()
                    if name.lower() not in ('transfer-encoding', 'connection', 'date', 'content-length')
                ]
                length = answer.getheader('Content-Length') if self.command == 'HEAD' else str(len(content))
                if kind == 'shorter':
                    # A wrong length that HTTP itself does not notice.
                    content = content[: len(content) // 2]
                    length = str(len(content))
                self.send_response(answer.status)
                for name, value in headers:
                    self.send_header(name, value)
                if kind == 'skew':
                    self.send_header('Date', 'Thu, 01 Jan 1998 00:00:00 GMT')
                self.send_header('Content-Length', length or '0')
                self.end_headers()
                if self.command == 'HEAD':
                    return
                if kind == 'truncated':
                    self.wfile.write(content[: len(content) // 2])
                    self.wfile.flush()
                    self.connection.shutdown(socket.SHUT_RDWR)
                    self.close_connection = True
                elif kind == 'slow':
                    for start in range(0, len(content), 4096):
                        self.wfile.write(content[start : start + 4096])
                        time.sleep(0.01)
                else:
                    self.wfile.write(content)

            do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_one

            def handle(self) -> None:
                # A client that gives up is a part of the tests.
                with contextlib.suppress(ConnectionError):
                    super().handle()

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def inject(self, kind: str, method: str = 'GET', part: str = '', times: int = 1) -> None:
        """Inject a fault into the next requests with a method and a part of the path."""
        self.faults += [(kind, method, part)] * times

    def next_fault(self, method: str, path: str) -> str | None:
        """Return the fault of a request, which is then used up; None without one."""
        with self.lock:
            for fault in self.faults:
                kind, wanted, part = fault
                if wanted == method and part in path:
                    self.faults.remove(fault)
                    self.injected.append(kind)
                    return kind
        return None

    def close(self) -> None:
        """Stop the proxy."""
        self.server.shutdown()
        self.server.server_close()
