"""The stream of images in tar shards: passes, ranks and workers, shuffling, and unreadable images."""

from collections import Counter
from itertools import islice

import pytest
from lfi.datasets import WebDataset
from lfi.datasets.tar_shards import web_dataset
from lfi.datasets.tar_shards.web_dataset import expand_urls
from lfi.errors import UsageError
from lfi.unreadable import UnreadableImageError, UnreadableList, replace_unreadable
from mmengine.dataset import pseudo_collate
from tar_files import read_tar, write_shapes_tars, write_tar
from torch.utils.data import DataLoader

pytest.importorskip('webdataset')
PIPELINE = [dict(type='LoadImageFromFile'), dict(type='mmpretrain.PackInputs')]


def labels_of(dataset, count, workers=0):
    loader = DataLoader(dataset, 1, num_workers=workers, collate_fn=pseudo_collate)
    return [batch['data_samples'][0].gt_label.item() for batch in islice(loader, count)]


def test_without_shuffling_the_order_is_that_of_the_shards(tmp_path):
    write_shapes_tars(tmp_path)
    dataset = WebDataset(f'{tmp_path}/train-{{0..2}}.tar', PIPELINE, shuffle=0)
    assert labels_of(dataset, 30) == [*range(12), *range(12), *range(6)]


def test_ranks_and_workers_share_the_shards_of_each_pass(tmp_path, monkeypatch):
    write_shapes_tars(tmp_path, tars=8, images=3)
    seen = []
    for rank in range(2):
        monkeypatch.setattr(web_dataset, 'get_dist_info', lambda rank=rank: (rank, 2))
        dataset = WebDataset(f'{tmp_path}/*.tar', PIPELINE, shuffle=5)
        # Each of the two workers has 6 images in a pass.
        seen.append(labels_of(dataset, 36, workers=2))
    for number in range(3):
        of_pass = [labels[number * 12 : (number + 1) * 12] for labels in seen]
        assert Counter(sum(of_pass, [])) == dict.fromkeys(range(24), 1)
    assert seen[0][:12] != seen[0][12:24]


def test_the_seed_and_the_iteration_of_a_resumed_training_choose_the_order(tmp_path):
    write_shapes_tars(tmp_path)

    def order(seed=0, resumed_at=0):
        dataset = WebDataset(f'{tmp_path}/*.tar', PIPELINE, shuffle=5, seed=seed)
        dataset.resume(resumed_at)
        return labels_of(dataset, 12)

    assert order() == order()
    assert sorted(order()) == sorted(order(resumed_at=7)) == [*range(12)]
    assert len({tuple(order()), tuple(order(seed=1)), tuple(order(resumed_at=7))}) == 3


def test_resampled_shards_serve_any_number_of_workers(tmp_path, monkeypatch):
    write_shapes_tars(tmp_path, tars=2)
    monkeypatch.setattr(web_dataset, 'get_dist_info', lambda: (2, 3))
    with pytest.raises(UsageError, match='2 tar files are too few for 3 workers of all ranks: set a smaller'):
        labels_of(WebDataset(f'{tmp_path}/*.tar', PIPELINE), 1)
    dataset = WebDataset(f'{tmp_path}/*.tar', PIPELINE, resampled=True)
    assert set(labels_of(dataset, 60)) == {*range(8)}


def test_unreadable_images_are_left_out_and_listed(tmp_path):
    (tar, *_) = write_shapes_tars(tmp_path, tars=1, images=30)
    members = [(name, b'no image' if name == '4.png' else content) for name, content in read_tar(tar)]
    write_tar(tar, members)
    dataset, unreadable = WebDataset(str(tar), PIPELINE, shuffle=0), UnreadableList(tmp_path)
    replace_unreadable(dataset, 0.1, unreadable)
    assert labels_of(dataset, 29) == [label for label in range(30) if label != 4]
    assert len(unreadable) == 1 and 'train-0.tar/4.png\t' in unreadable.path.read_text()
    replace_unreadable(dataset, 0, unreadable)
    with pytest.raises(UnreadableImageError, match=r'train-0.tar/4.png.*max_unreadable=0 allows none'):
        labels_of(dataset, 29)


def test_too_many_unreadable_images_end_the_training(tmp_path):
    tar = write_tar(tmp_path / 'a.tar', [(f'{number}.jpg', b'no image') for number in range(40)])
    dataset = WebDataset(str(tar), PIPELINE, shuffle=0)
    replace_unreadable(dataset, 0.1, UnreadableList(tmp_path))
    with pytest.raises(UnreadableImageError, match=r'a.tar: none of the 20 checked images can be read'):
        labels_of(dataset, 1)


def test_tars_without_an_image_are_refused(tmp_path):
    tar = write_tar(tmp_path / 'a.tar', [('1.md', b'a dog')])
    broken = write_tar(tmp_path / 'b.tar', [('1.jpg', b'no image')])
    with pytest.raises(UsageError, match=r'the tar files of a worker have no readable image'):
        labels_of(WebDataset(str(broken), PIPELINE), 1)
    with pytest.raises(UsageError, match=r'a.tar., …: the tar files of a worker have no readable image'):
        labels_of(WebDataset(str(tar), PIPELINE), 1)


def test_urls_are_expanded(tmp_path):
    paths = [str(path) for path in write_shapes_tars(tmp_path, images=1)]
    assert expand_urls(f'{tmp_path}/train-{{0..2}}.tar') == expand_urls(f'{tmp_path}/*.tar') == paths
    assert expand_urls(paths[:2]) == paths[:2]
    # A name with brackets is no pattern.
    named = tmp_path / 'train-[1].tar'
    named.touch()
    assert expand_urls(str(named)) == [str(named)]
    with pytest.raises(UsageError, match='has a brace without its partner'):
        expand_urls('train-{0..2')
    with pytest.raises(UsageError, match='there is no such tar file'):
        expand_urls(f'{tmp_path}/val-*.tar')
    with pytest.raises(UsageError, match='a/1.tar comes twice'):
        expand_urls(['a/1.tar', 'a/1.tar'])
    with pytest.raises(UsageError, match='a/1.tar and b/1.tar have one name, and so one sidecar: rename one'):
        expand_urls(['a/1.tar', 'b/1.tar'])


def test_labels_are_required_for_a_model_that_learns_from_labels_alone(tmp_path):
    tar = write_tar(tmp_path / 'a.tar', [('1.png', b'')])
    with pytest.raises(
        UsageError, match='1.png has no label, and a model that is no lfi.Student .* a member .cls'
    ):
        labels_of(WebDataset(str(tar), PIPELINE, needs_labels=True), 1)


@pytest.mark.parametrize('ids', [(17, 17), (17,), (17, 18, 19)])
def test_category_ids_are_one_for_each_class(ids, tmp_path):
    tar = write_tar(tmp_path / 'a.tar', [])
    with pytest.raises(UsageError, match='must be different ids, one for each of the 2 classes'):
        WebDataset(str(tar), PIPELINE, dict(classes=['cat', 'dog']), ids)
