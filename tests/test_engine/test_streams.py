"""Configs that train on a stream: what fits them, and what is refused."""

import pytest
from lfi.engine.streams import is_stream, set_stream
from lfi.errors import UsageError
from mmengine.config import Config
from tar_files import write_tar

pytest.importorskip('webdataset')


def config_of(tmp_path, **train_cfg):
    urls = [str(write_tar(tmp_path / f'{number}.tar', [('1.jpg', b'')])) for number in range(2)]
    dataset = dict(type='lfi.WebDataset', urls=urls)
    sampler = dict(type='DefaultSampler', shuffle=True)
    loader = dict(dataset=dataset, batch_size=8, num_workers=2, sampler=sampler)
    return Config(dict(train_dataloader=loader, train_cfg=train_cfg or dict(by_epoch=False, max_iters=9)))


def test_a_stream_has_no_sampler_and_resumes_by_its_hook(tmp_path):
    cfg = config_of(tmp_path)
    set_stream(cfg)
    assert is_stream(cfg) and cfg.train_dataloader.sampler is None
    assert [hook.type for hook in cfg.custom_hooks] == ['lfi.StreamResumeHook']
    other = Config(dict(train_dataloader=dict(dataset=dict(type='lfi.Shapes'), sampler='kept')))
    set_stream(other)
    assert not is_stream(other) and other.train_dataloader.sampler == 'kept'


def test_epochs_are_refused_with_the_iterations_of_one(tmp_path):
    with pytest.raises(UsageError, match=r'has no end, and so no epochs.*An epoch of I images is I / 8 iter'):
        set_stream(config_of(tmp_path, by_epoch=True, max_epochs=3))


@pytest.mark.parametrize(
    ('part', 'message'),
    [
        (dict(param_scheduler=[dict(type='LinearLR')]), 'param_scheduler counts epochs'),
        (dict(default_hooks=dict(checkpoint=dict(interval=1))), 'default_hooks.checkpoint counts epochs'),
        (
            dict(val_dataloader=dict(dataset=dict(type='lfi.WebDataset'))),
            'val_dataloader: a lfi.WebDataset has',
        ),
        (
            dict(train_dataloader=dict(sampler=dict(type='lfi.LabelledShareSampler'))),
            'LabelledShareSampler needs indices',
        ),
    ],
)
def test_parts_that_a_stream_cannot_serve_are_refused(part, message, tmp_path):
    cfg = config_of(tmp_path)
    cfg.merge_from_dict(part)
    with pytest.raises(UsageError, match=message):
        set_stream(cfg)


def test_a_stream_follows_the_seed_of_the_run(tmp_path):
    cfg = config_of(tmp_path)
    cfg.merge_from_dict(dict(randomness=dict(seed=5), model=dict(type='lfi.Student')))
    set_stream(cfg)
    assert cfg.train_dataloader.dataset.seed == 5 and not cfg.train_dataloader.dataset.needs_labels


def test_a_stream_inside_another_data_set_is_refused(tmp_path):
    cfg = config_of(tmp_path)
    cfg.train_dataloader.dataset = dict(type='lfi.FewLabels', dataset=cfg.train_dataloader.dataset)
    with pytest.raises(
        UsageError, match=r'a FewLabels holds a lfi.WebDataset, which is a stream without ind'
    ):
        set_stream(cfg)


def test_more_workers_than_shards_are_refused(tmp_path):
    cfg = config_of(tmp_path)
    cfg.train_dataloader.num_workers = 3
    with pytest.raises(UsageError, match='2 tar files are too few for 3 workers of all ranks'):
        set_stream(cfg)
    cfg.train_dataloader.dataset.resampled = True
    set_stream(cfg)
    assert cfg.train_dataloader.dataset.needs_labels
