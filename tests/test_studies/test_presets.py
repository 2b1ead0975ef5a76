"""The studies are what they say."""

import shlex

import pytest
from lfi.config_files import tools_root
from lfi.studies.arms import ARMS
from lfi.studies.grid import plan, read_config
from lfi.studies.launcher import Launcher
from lfi.studies.presets import GROUPS, PRESETS, SETTINGS
from lfi.studies.published import file_of


@pytest.mark.parametrize('name', PRESETS)
def test_its_arms_are_configs_that_exist(name):
    preset = PRESETS[name]
    arms = [*preset.arms, *preset.short_arms]
    assert arms
    assert preset.method in {arm.name.split()[0] for arm in arms}
    assert len({arm.name for arm in arms}) == len({arm.folder for arm in arms}) == len(arms)
    for arm in arms:
        assert shlex.quote(arm.folder) == arm.folder
        assert (tools_root() / arm.config).is_file(), arm.config
        variety = ARMS.get(arm.name.split()[0])
        if variety and arm.cache:
            assert arm.cache.startswith(variety.reads)


def test_each_way_to_distil_is_tuned_by_as_many_settings():
    ways = {name for name, variety in ARMS.items() if variety.of is None and variety.reads}
    assert SETTINGS.keys() == ways
    assert len({len(settings) for settings in SETTINGS.values()}) == 1
    for settings in SETTINGS.values():
        assert len({tuple(options.items()) for options in settings}) == len(settings)


def test_groups_are_of_studies():
    assert {study for studies in GROUPS.values() for study in studies} <= PRESETS.keys()


@pytest.mark.parametrize(
    ('group', 'split'), [('shapes-few', {}), ('tiny-few', {'images_per_class': (100, 150)})]
)
def test_few_labels_are_those_of_the_seed_in_every_arm(group, split, tmp_path):
    for study, number in zip(GROUPS[group], (5, 10, 25)):
        jobs = plan(PRESETS[study], [7], [], tmp_path)
        assert [job.arm.name for job in jobs] == [
            *('task-loss', 'logit-kd', 'dense-features', 'lightly-train-v3'),
            *('shuffled-images', 'lfi', 'lfi-logit-kd'),
        ]
        # All arms have the same data.
        for job in (jobs[0], jobs[-1]):
            cfg = job.config()
            few = cfg.train_dataloader.dataset
            assert (few.type, few.labels_per_class, few.seed) == ('lfi.FewLabels', number, 7)
            assert cfg.train_dataloader.sampler.type == 'lfi.LabelledShareSampler'
            assert split.items() <= cfg.val_dataloader.dataset.to_dict().items()
            # A cache serves all seeds.
            assert not any('seed' in option for option in job.cache_options)


@pytest.mark.parametrize(
    ('study', 'split'), [('shapes-none', {}), ('tiny-none', {'images_per_class': (100, 150)})]
)
def test_without_labels_lfi_predicts_by_text_and_the_baseline_by_its_head(study, split, tmp_path):
    preset = PRESETS[study]
    trained = {
        'logit-kd': 'lfi.FeatureDistillClassifier',
        'shuffled-images': 'lfi.ShuffledImagesTextClassifier',
        'lfi': 'lfi.LFITextClassifier',
        'lfi-logit-kd': 'lfi.LFITextClassifier',
    }
    jobs = plan(preset, [7], [], tmp_path)
    assert {job.arm.name: job.config().model.type for job in jobs} == trained
    assert preset.negative_controls == {'shuffled-images': 'lfi'}
    for job in jobs:
        cfg = job.config()
        assert (cfg.train_dataloader.dataset.type, cfg.train_dataloader.dataset.labels_per_class) == (
            'lfi.FewLabels',
            0,
        )
        assert split.items() <= cfg.val_dataloader.dataset.to_dict().items()
        # One test measures both which and where.
        ((name, metrics, command),) = job.test_commands(Launcher(python='python'), tmp_path / 'x.pth')
        assert (name, metrics) == ('', job.folder / 'test/metrics.json')
        tested = read_config(command[2], command[command.index('--cfg-options') + 1 :])
        assert tested.model.type == trained[job.arm.name].replace('FeatureDistill', 'ClassActivation')
        assert tested.test_evaluator[-1].type == 'lfi.SemanticConsistencyMetric'
        assert tested.model.teacher == cfg.model.teacher and tested.model.backbone == cfg.model.backbone
    names = [file_of(preset, study, metric, tmp_path).name for metric in preset.metrics]
    assert names == [f'{study}.csv', f'{study}-semantic-pointing.csv']
    # Where nothing is labelled nothing can be tuned.
    assert f'{study}-tuning' not in PRESETS
