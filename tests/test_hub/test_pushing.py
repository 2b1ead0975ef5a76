"""Students and caches on their way to the Hub and back, by a stand-in for it."""

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import lfi
import numpy as np
import pytest
import torch
from lfi.engine.cached_pipelines import set_teacher_cache
from lfi.engine.checkpoints.reading import safe_checkpoint_loading
from lfi.engine.config_loading import load_config
from lfi.errors import UsageError
from lfi.structures.interaction_cache import CacheError, CacheWriter, InteractionCache, Sidecar
from lfi.utils.repositories import HubError, local_folder
from mmengine.runner.checkpoint import CheckpointLoader

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_a_student_comes_back_from_the_hub(hub, run_folder, tmp_path):
    commit = lfi.push_to_hub(run_folder, 'me/student', token='hf_x', private=True, commit_message='First')
    assert commit.commit_url.startswith(hub.url)
    assert hub.private == {'models/me/student': True} and hub.messages == ['First']
    files = hub.files('models/me/student')
    assert files.keys() == {'config.json', 'model.safetensors', 'README.md', 'texts.safetensors'}
    assert "lfi.from_pretrained('me/student')" in files['README.md'].decode()
    assert {token for _, path, token in hub.requests if 'me/student' in path} == {'Bearer hf_x'}

    student = lfi.from_pretrained('me/student', token='hf_x', cache_dir=tmp_path / 'own')
    trained = torch.load(run_folder / 'epoch_2.pth')
    assert all(
        torch.equal(value, trained['state_dict'][name]) for name, value in student.state_dict().items()
    )
    assert student.dataset_meta == trained['meta']['dataset_meta']
    asked = len(hub.requests)
    again = lfi.from_pretrained('me/student', cache_dir=tmp_path / 'own', local_files_only=True)
    assert len(hub.requests) == asked
    assert torch.equal(again(IMAGES), student(IMAGES))


def test_an_upload_without_a_text_tower_replaces_one_with_it(hub, run_folder, tmp_path):
    lfi.push_to_hub(run_folder, 'me/student', text_tower=True)
    assert 'text_tower/open_clip_model.safetensors' in hub.files('models/me/student')
    lfi.from_pretrained('me/student', cache_dir=tmp_path / 'cache')
    folder = lfi.save_pretrained(run_folder, tmp_path / 'student', readout=False)
    (folder / 'texts.safetensors').write_bytes(b'stray')
    lfi.push_to_hub(folder, 'me/student')
    assert hub.files('models/me/student').keys() == {'config.json', 'model.safetensors', 'README.md'}
    lfi.from_pretrained('me/student', cache_dir=tmp_path / 'cache')


def test_a_folder_is_uploaded_as_it_is_and_read_by_its_revision(hub, run_folder, tmp_path):
    folder = lfi.save_pretrained(run_folder, tmp_path / 'student', model_card=dict(license='mit'))
    first = lfi.push_to_hub(folder, 'me/student').oid
    lfi.push_to_hub(run_folder, 'me/student', revision='slim', readout=False)
    for change in (dict(readout=False), dict(config='x.py'), dict(model_card=dict(license='mit'))):
        with pytest.raises(
            UsageError, match='student is a saved student with its own config, read-out and card'
        ):
            lfi.push_to_hub(folder, 'me/student', **change)
    assert hub.files('models/me/student')['config.json'] == (folder / 'config.json').read_bytes()
    assert hasattr(lfi.from_pretrained('hf://me/student'), 'ask')
    assert hasattr(lfi.from_pretrained(f'me/student@{first}'), 'ask')
    assert not hasattr(lfi.from_pretrained('me/student', revision='slim'), 'ask')
    with pytest.raises(HubError, match='me/student@gone'):
        lfi.from_pretrained('me/student@gone')


def test_only_what_is_read_is_downloaded(hub, run_folder):
    lfi.push_to_hub(run_folder, 'me/student')
    hub.files('models/me/student').update({'evil.py': b'raise SystemExit', 'big.bin': b'0' * 10})
    lfi.from_pretrained('me/student')
    assert not any('evil.py' in path or 'big.bin' in path for _, path, _ in hub.requests)


def test_a_repository_is_a_checkpoint_and_a_config(hub, run_folder):
    lfi.push_to_hub(run_folder, 'me/student')
    with safe_checkpoint_loading():
        checkpoint = CheckpointLoader.load_checkpoint('hf://me/student', 'cpu', logger=None)
    trained = torch.load(run_folder / 'epoch_2.pth')
    assert checkpoint['meta']['dataset_meta'] == trained['meta']['dataset_meta']
    assert load_config('hf://me/student').model.type == 'lfi.Student'


def test_a_student_that_was_downloaded_is_pushed_under_its_new_name(hub, run_folder, tmp_path):
    lfi.push_to_hub(run_folder, 'me/student')
    downloaded = tmp_path / 'downloaded'
    downloaded.mkdir()
    for name, content in hub.files('models/me/student').items():
        (downloaded / name).write_bytes(content)
    with (downloaded / 'README.md').open('a') as card:
        card.write("AutoModel.from_pretrained('google/siglip'), as me/student-large and me/student.")
    lfi.push_to_hub(downloaded, 'you/other')
    card = hub.files('models/you/other')['README.md'].decode()
    assert '# you/other\n' in card and "from_pretrained('you/other')" in card
    assert card.endswith("AutoModel.from_pretrained('google/siglip'), as me/student-large and you/other.")
    assert card.count('me/student') == 1


@pytest.mark.parametrize('name', ['a', '/', 'a/' * 50_000 + 'b'], ids=len)
def test_a_long_card_is_pushed_in_no_time(hub, saved_student, tmp_path, name):
    shutil.copytree(saved_student, tmp_path / 'long')
    card = f"lfi.from_pretrained('{name}')\n{'a/' * 60_000}{'/' * 60_000}"
    (tmp_path / 'long/README.md').write_text(card)
    began = time.process_time()
    lfi.push_to_hub(tmp_path / 'long', 'me/student')
    assert time.process_time() - began < 10
    assert hub.files('models/me/student')['README.md'].decode().startswith('lfi.from_pretrained(')


def test_a_cache_comes_back_as_a_dataset(hub, small_cache, small_config):
    lfi.push_to_hub(small_cache, 'me/maps', model_card=dict(license='cc0-1.0'))
    files = hub.files('datasets/me/maps')
    kept = {path.name: path.read_bytes() for path in small_cache.iterdir()}
    assert {**files, 'README.md': b''} == {**kept, 'README.md': b''}
    assert b'license: cc0-1.0' in files['README.md'] and b'hf://datasets/me/maps' in files['README.md']

    paths = ['train/b.png']
    expected = InteractionCache(small_cache).read(paths)
    for address in ('datasets/me/maps', 'hf://datasets/me/maps'):
        assert lfi.from_pretrained(address).read(paths) == expected
    assert InteractionCache('hf://me/maps').read(paths) == expected
    cfg = small_config(teacher=dict(cache='hf://datasets/me/maps'))
    set_teacher_cache(cfg)
    assert InteractionCache(cfg.model.teacher.cache).read(paths) == expected


def test_a_cache_of_tar_shards_comes_back_as_a_dataset(hub, small_cache, tmp_path):
    small = InteractionCache(small_cache)
    manifest = replace(small.manifest, num_images=0, shard_size=0)
    writer = CacheWriter(tmp_path / 'sidecars', manifest, small.text_embeddings)
    shard = small.shard(0)
    keys = shard.keys()
    records = np.stack([shard.record(position, key) for position, key in enumerate(keys.tolist())])
    writer.write('train-0.safetensors', keys, records)
    lfi.push_to_hub(tmp_path / 'sidecars', 'me/maps')
    files = hub.files('datasets/me/maps')
    assert sorted(files) == ['README.md', 'manifest.json', 'texts.npy', 'train-0.safetensors']
    cache = lfi.from_pretrained('datasets/me/maps')
    assert Sidecar(cache, 'train-0.tar').keys.tolist() == keys.tolist()
    damaged = files['train-0.safetensors']
    files['train-0.safetensors'] = damaged[:-1] + bytes([damaged[-1] ^ 1])
    with pytest.raises(CacheError, match='train-0.safetensors is corrupted'):
        lfi.from_pretrained('datasets/me/maps', cache_dir=tmp_path / 'other')


def test_a_cache_that_was_changed_on_its_way_is_refused(hub, small_cache):
    lfi.push_to_hub(small_cache, 'me/maps')
    files = hub.files('datasets/me/maps')
    shard = files['shard-00000.safetensors']
    files['shard-00000.safetensors'] = shard[:-1] + bytes([shard[-1] ^ 1])
    with pytest.raises(CacheError, match='shard-00000.safetensors is corrupted'):
        lfi.from_pretrained('datasets/me/maps')
    del files['shard-00000.safetensors']
    with pytest.raises(CacheError, match='shard-00000.safetensors is missing'):
        lfi.from_pretrained('datasets/me/maps', cache_dir=small_cache.parent / 'other')


def test_a_broken_folder_is_not_uploaded(hub, run_folder, small_cache, tmp_path):
    folder = lfi.save_pretrained(run_folder, tmp_path / 'student')
    (folder / 'model.safetensors').write_bytes(b'')
    with pytest.raises(HubError, match='truncated'):
        lfi.push_to_hub(folder, 'me/student')
    (small_cache / 'shard-00000.safetensors').write_bytes(b'')
    with pytest.raises(CacheError, match='corrupted'):
        lfi.push_to_hub(small_cache, 'me/maps')
    assert not hub.commits


@pytest.mark.parametrize('name', ['README.md', 'model.safetensors', 'config.json'])
def test_a_link_in_a_students_folder_is_not_followed(hub, saved_student, tmp_path, name):
    folder = tmp_path / 'student'
    folder.mkdir()
    for path in saved_student.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    # What lies within the folder may be the user's too.
    for secret in (tmp_path / 'secret', folder / 'secret'):
        secret.write_bytes((saved_student / name).read_bytes())
        (folder / name).unlink()
        (folder / name).symlink_to(os.path.relpath(secret, folder))
        with pytest.raises(HubError, match=rf'{name} is a link to \S+/secret, and links are not uploaded'):
            lfi.push_to_hub(folder, 'me/student')
    assert not hub.requests


def test_a_card_that_is_no_file_is_not_read(hub, saved_student, tmp_path):
    folder = Path(shutil.copytree(saved_student, tmp_path / 'student'))
    (folder / 'README.md').unlink()
    os.mkfifo(folder / 'README.md')
    with pytest.raises(HubError, match=r'README\.md is not a file: remove it'):
        lfi.push_to_hub(folder, 'me/student')
    assert not hub.requests


def test_a_card_that_is_no_text_is_named(hub, saved_student, tmp_path):
    folder = Path(shutil.copytree(saved_student, tmp_path / 'student'))
    (folder / 'README.md').write_bytes(b'\xff')
    with pytest.raises(HubError, match=r'README\.md is not UTF-8 text'):
        lfi.push_to_hub(folder, 'me/student')
    assert not hub.requests


@pytest.mark.parametrize('name', ['README.md', 'index.npy', 'shard-00000.safetensors'])
def test_a_link_in_a_caches_folder_is_not_followed(hub, small_cache, tmp_path, name):
    secret = tmp_path / 'secret'
    path = small_cache / name
    secret.write_bytes(path.read_bytes() if path.exists() else b'mine')
    path.unlink(missing_ok=True)
    path.symlink_to(secret)
    with pytest.raises(HubError, match=rf'{name} is a link to {secret}, and links are not uploaded'):
        lfi.push_to_hub(small_cache, 'me/maps')
    assert not hub.requests


def test_of_a_cache_no_shards_are_uploaded_that_it_does_not_have(hub, small_cache):
    lfi.push_to_hub(small_cache, 'me/maps')
    for name in ('shard-999.safetensors', 'shard-00001.safetensors', 'shard-x.safetensors'):
        (small_cache / name).write_bytes(b'mine')
    lfi.push_to_hub(small_cache, 'me/other')
    assert hub.files('datasets/me/other').keys() == hub.files('datasets/me/maps').keys()


def test_links_of_the_hubs_own_cache_are_followed(hub, run_folder, small_cache, tmp_path):
    lfi.push_to_hub(run_folder, 'me/student')
    lfi.push_to_hub(small_cache, 'me/maps')
    for kind, name in (('models', 'me/student'), ('datasets', 'me/maps')):
        snapshot = local_folder(f'{kind}/{name}'.removeprefix('models/'))
        assert (snapshot / 'README.md').is_symlink()
        lfi.push_to_hub(snapshot, 'me/again')
        assert hub.files(f'{kind}/me/again').keys() == hub.files(f'{kind}/{name}').keys()

    # A folder of others may only look like that cache.
    secret = tmp_path / 'secret'
    secret.write_bytes(b'mine')
    blob = (snapshot / 'README.md').resolve()
    blob.unlink()
    blob.symlink_to(secret)
    with pytest.raises(HubError, match=r'README\.md is a link to \S+/secret, and links are not uploaded'):
        lfi.push_to_hub(snapshot, 'me/maps-3')


@pytest.mark.parametrize('name', ['me/nothing', 'datasets/me/nothing'])
def test_what_the_hub_does_not_have_is_named(hub, name):
    with pytest.raises(HubError, match=f'the Hub does not give hf://{name}'):
        lfi.from_pretrained(name)


def test_names_that_are_none_are_refused_without_a_request(hub, tmp_path):
    for name in ('student', tmp_path / 'gone', 'a/b/c', 'hf://me', 'me/student@'):
        with pytest.raises(HubError, match='neither a folder nor a repository'):
            lfi.from_pretrained(name)
    assert not hub.requests


def test_what_the_hub_refuses_is_said_in_a_line(hub, run_folder):
    hub.server.shutdown()
    hub.server.server_close()
    with pytest.raises(HubError, match='the Hub does not take me/student'):
        lfi.push_to_hub(run_folder, 'me/student')
