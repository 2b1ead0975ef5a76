"""A small stand-in for the Hugging Face Hub: repositories in memory, as huggingface_hub asks for them."""

import base64
import json
import threading
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit


class Hub:
    """Repositories by 'models/user/name' or 'datasets/user/name', each a list of commits {path: content}."""

    def __init__(self):
        self.commits, self.private, self.branches, self.messages, self.uploads = {}, {}, {}, [], {}
        self.server = ThreadingHTTPServer(('127.0.0.1', 0), self._handler())
        self.url = f'http://127.0.0.1:{self.server.server_port}'
        self.requests = []
        threading.Thread(target=self.server.serve_forever, args=[0.01], daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def files(self, repo, branch='main'):
        """What a branch holds."""
        return self.commits[repo][self.branches[repo][branch]]

    def sha(self, repo, revision):
        """The commit of a branch, or a commit itself; None if there is no such."""
        if revision in self.branches[repo]:
            revision = self._sha(repo, self.branches[repo][revision])
        known = [self._sha(repo, i) for i in range(len(self.commits[repo]))]
        return revision if revision in known else None

    def at(self, repo, sha):
        """What a commit holds."""
        return self.commits[repo][[self._sha(repo, i) for i in range(len(self.commits[repo]))].index(sha)]

    def create(self, body):
        repo = f'{body.get("type", "model")}s/{body["organization"]}/{body["name"]}'
        known = repo in self.commits
        if not known:
            self.commits[repo], self.branches[repo] = [{}], {'main': 0}
            self.private[repo] = body.get('private') or body.get('visibility') == 'private'
        return 409 if known else 200, {'url': f'{self.url}/{repo.removeprefix("models/")}'}

    def commit(self, repo, branch, lines):
        files = dict(self.files(repo, branch))
        for line in lines:
            value = line['value']
            if line['key'] == 'header':
                self.messages.append(value['summary'])
            elif line['key'] == 'file':
                files[value['path']] = base64.b64decode(value['content'])
            elif line['key'] == 'deletedFile':
                del files[value['path']]
            elif line['key'] == 'lfsFile':
                files[value['path']] = self.uploads[value['oid']]
        self.commits[repo].append(files)
        self.branches[repo][branch] = len(self.commits[repo]) - 1
        sha = self.sha(repo, branch)
        return 200, {'commitOid': sha, 'commitUrl': f'{self.url}/{repo}/commit/{sha}'}

    @staticmethod
    def _sha(repo, index):
        return sha1(f'{repo} {index}'.encode()).hexdigest()

    def _handler(hub):  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args):
                pass

            def answer(self, status, content=b'', **headers):
                body = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in {'Content-Length': len(body), **headers}.items():
                    self.send_header(name.replace('_', '-'), str(value))
                self.end_headers()
                if self.command != 'HEAD':
                    self.wfile.write(body)

            def body(self):
                return self.rfile.read(int(self.headers.get('Content-Length', 0)))

            def parts(self):
                hub.requests.append((self.command, self.path, self.headers.get('Authorization')))
                return [unquote(part) for part in urlsplit(self.path).path.strip('/').split('/')]

            def missing(self, code):
                self.answer(404, {'error': code}, X_Error_Code=code)

            def do_POST(self):
                parts, body = self.parts(), self.body()
                if parts == ['api', 'repos', 'create']:
                    return self.answer(*hub.create(json.loads(body)))
                if parts == ['api', 'validate-yaml']:
                    return self.answer(200, {'errors': [], 'warnings': []})
                if parts[-1] == 'batch':
                    objects = json.loads(body)['objects']
                    actions = [
                        {**one, 'actions': {'upload': {'href': f'{hub.url}/upload/{one["oid"]}'}}}
                        for one in objects
                    ]
                    return self.answer(200, {'transfer': 'basic', 'objects': actions})
                repo, call, branch = '/'.join(parts[1:4]), parts[4], '/'.join(parts[5:])
                if repo not in hub.commits:
                    return self.missing('RepoNotFound')
                if call == 'branch':
                    if branch in hub.branches[repo]:
                        return self.answer(409, {'error': 'exists'})
                    hub.branches[repo][branch] = hub.branches[repo]['main']
                    return self.answer(200, {})
                if call == 'preupload':
                    modes = [
                        {
                            'path': file['path'],
                            'uploadMode': 'lfs'
                            if file['path'].endswith(('.safetensors', '.npy'))
                            else 'regular',
                            'shouldIgnore': False,
                        }
                        for file in json.loads(body)['files']
                    ]
                    return self.answer(200, {'files': modes})
                return self.answer(
                    *hub.commit(repo, branch, [json.loads(line) for line in body.splitlines()])
                )

            def do_PUT(self):
                (_, oid), body = self.parts(), self.body()
                assert sha256(body).hexdigest() == oid
                hub.uploads[oid] = body
                self.answer(200)

            def do_GET(self):
                parts = self.parts()
                if parts[0] == 'api':
                    repo, revision = '/'.join(parts[1:4]), '/'.join(parts[5:]) or 'main'
                    if repo not in hub.commits:
                        return self.missing('RepoNotFound')
                    sha = hub.sha(repo, revision)
                    if sha is None:
                        return self.missing('RevisionNotFound')
                    files = hub.at(repo, sha)
                    # huggingface_hub from 1 on lists the files of a revision so.
                    if parts[4:5] == ['tree']:
                        tree = [
                            {
                                'type': 'file',
                                'path': name,
                                'size': len(content),
                                'oid': sha1(content).hexdigest(),
                            }
                            for name, content in files.items()
                        ]
                        return self.answer(200, tree)
                    names = [{'rfilename': name} for name in files]
                    return self.answer(200, {'id': '/'.join(parts[2:4]), 'sha': sha, 'siblings': names})
                kind = [] if parts[0] == 'datasets' else ['models']
                repo, (revision, *path) = '/'.join([*kind, *parts[: 3 - len(kind)]]), parts[4 - len(kind) :]
                sha = hub.sha(repo, revision)
                content = hub.at(repo, sha)['/'.join(path)]
                tag = f'"{sha256(content).hexdigest()}"'
                return self.answer(200, content, X_Repo_Commit=sha, ETag=tag)

            do_HEAD = do_GET

        return Handler
