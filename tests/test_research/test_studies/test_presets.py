"""The studies are what they say."""

import operator
import re
import shlex

import pytest
from lfi.config_files import tools_root
from lfi.engine.few_labels_option import check_few_labels

from research.studies.arms import ARMS, METHOD, root_arm
from research.studies.grid import plan
from research.studies.job import batch_options, read_config
from research.studies.launcher import Launcher
from research.studies.presets import GROUPS, PRESETS
from research.studies.published import file_of
from research.studies.settings import PHOTOS_SETTINGS, SETTINGS


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
        # What is not pretrained goes through the motions.
        if variety and variety.teacher_output and arm.cache:
            assert arm.cache.startswith(variety.teacher_output)


@pytest.mark.parametrize('name', PRESETS)
def test_an_interval_is_of_all_seeds_and_no_arm_of_fewer_than_three(name):
    preset = PRESETS[name]
    seeds = {arm.name: preset.seeds_of(arm) for arm in (*preset.arms, *preset.short_arms)}
    # Seeds were added to `shapes-fresh` for LFI and its best baseline alone.
    others = ('logit-kd',) if name == 'shapes-fresh' else (preset.arms[0].name, 'other-image')
    assert {preset.seeds} == {seeds[arm] for arm in (*others, 'lfi') if arm in seeds}
    if not name.endswith('tuning'):
        assert min(map(len, seeds.values())) >= 3


# Of tuning, and of tuning after pretraining, the page says more than one length.
@pytest.mark.parametrize(
    'name',
    [
        name
        for name, preset in PRESETS.items()
        if 'epochs from scratch' in preset.about and not name.endswith(('tuning', 'pretraining'))
    ],
)
def test_it_says_how_long_its_arms_train(name, tmp_path):
    job = plan(PRESETS[name], [0], [], tmp_path)[0]
    stated = re.findall(r'(\d+) epochs from scratch', PRESETS[name].about)
    assert stated == [str(job.config().train_cfg.max_epochs)]


@pytest.mark.parametrize(('study', 'settings'), [('shapes', SETTINGS), ('tiny-small', PHOTOS_SETTINGS)])
def test_tuning_tries_each_setting_in_shorter_complete_schedules(study, settings, tmp_path):
    names = [arm.name for arm in PRESETS[f'{study}-tuning'].arms]
    assert names[0] == 'task-loss' and len(names) == 1 + sum(map(len, settings.values()))
    (long,) = {job.config().train_cfg.max_epochs for job in plan(PRESETS[study], [7], [], tmp_path)[:1]}
    jobs = plan(PRESETS[f'{study}-tuning'], [100], [], tmp_path)
    for job in (jobs[0], jobs[-1]):
        cfg = job.config()
        assert long / 2 <= cfg.train_cfg.max_epochs < long
        assert cfg.param_scheduler[-1].end == cfg.train_cfg.max_epochs


@pytest.mark.parametrize('study', ['shapes-few', 'tiny-few'])
def test_settings_of_few_labels_are_tuned_with_ten_labels_in_the_study_s_own_schedule(study, tmp_path):
    names = [arm.name.split()[0] for arm in PRESETS[f'{study}-tuning'].arms]
    # More where the best was at the end of five, and for DHO another prediction.
    assert names[0] == 'task-loss' and min(names.count(name) for name in names[1:]) == 5
    assert {'logit-kd', 'dho', 'dense-features', 'lightly-train-v3', 'lfi'} == set(names[1:])
    own = {job.arm.name: job.config() for job in plan(PRESETS[f'{study}-10'], [100], [], tmp_path)}
    for job in plan(PRESETS[f'{study}-tuning'], [100], [], tmp_path):
        cfg, theirs = job.config(), own[job.arm.name.split()[0]]
        assert cfg.train_cfg == theirs.train_cfg and cfg.train_dataloader == theirs.train_dataloader
        ways = [dict(each.model.get('predict_by', {})) for each in (cfg, theirs)]
        shares = [way.pop('weight', None) for way in ways]
        assert ways[0] == ways[1] and shares[0] in (None, shares[1])


def test_settings_that_were_chosen_with_few_labels_are_among_those_tried(tmp_path):
    jobs = {job.arm.name: job.config().model for job in plan(PRESETS['shapes-few-10'], [7], [], tmp_path)}
    tried = [job.config().model for job in plan(PRESETS['shapes-few-tuning'], [100], [], tmp_path)]
    for arm in ('lfi', 'logit-kd', 'dho'):
        ways = [(model.supervision, model.get('predict_by')) for model in tried]
        assert (jobs[arm].supervision, jobs[arm].get('predict_by')) in ways
    for arm in ('other-image', 'lfi-logit-kd', 'lfi-cached'):
        assert jobs[arm].supervision.interactions == jobs['lfi'].supervision.interactions
    assert jobs['lfi-logit-kd'].supervision.logit_kd == jobs['logit-kd'].supervision.logit_kd


def test_groups_are_of_studies():
    assert {study for studies in GROUPS.values() for study in studies} <= PRESETS.keys()


@pytest.mark.parametrize('study', [*GROUPS['shapes-few'], *GROUPS['tiny-few'], 'tiny-resnet-few'])
def test_with_few_labels_lfi_predicts_by_text_and_the_baselines_by_their_heads(study):
    for arm in PRESETS[study].arms:
        ways = [option for option in arm.options if option.startswith('model.predict_by.type')]
        own = {'dho': ['model.predict_by.type=lfi.ByMixture']}
        expected = ['model.predict_by.type=lfi.ByTexts'] if reads_out(arm.name) else []
        assert ways == own.get(arm.name, expected)
        assert arm.test_options == ()


@pytest.mark.parametrize('study', ['shapes', *GROUPS['shapes-few'], 'tiny-small', *GROUPS['tiny-few']])
def test_all_arms_look_at_the_teacher_in_the_same_way(study):
    arms = PRESETS[study].arms
    asks = {arm.name for arm in arms if ARMS[arm.name.split()[0]].teacher_output}
    # Of Shapes about each view, of photos once.
    cached = asks & {'lfi-cached'} if study.startswith('shapes') else asks
    assert {arm.name for arm in arms if arm.cache} == cached


@pytest.mark.parametrize(
    ('group', 'split'), [('shapes-few', {}), ('tiny-few', {'images_per_class': (100, 150)})]
)
def test_few_labels_are_those_of_the_seed_in_every_arm(group, split, tmp_path):
    for study, number in zip(GROUPS[group], (5, 10, 25)):
        jobs = plan(PRESETS[study], [7], [], tmp_path)
        names = {job.arm.name for job in jobs}
        assert {'task-loss', 'other-image', 'lfi'} <= names
        # Ablations and further controls, with 10 labels alone.
        assert number == 10 or names < {arm.name for arm in PRESETS[f'{group}-10'].arms}
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
    jobs = plan(preset, [7], [], tmp_path)
    assert preset.negative_controls['other-image'] == 'lfi'
    for job in jobs:
        cfg = job.config()
        way = dict(type='lfi.ByTexts') if reads_out(job.arm.name) else None
        assert cfg.model.get('predict_by') == way
        assert (cfg.train_dataloader.dataset.type, cfg.train_dataloader.dataset.labels_per_class) == (
            'lfi.FewLabels',
            0,
        )
        assert split.items() <= cfg.val_dataloader.dataset.to_dict().items()
        # One test measures both which and where.
        ((name, metrics, command),) = job.test_commands(Launcher(python='python'), tmp_path / 'x.pth')
        assert (name, metrics) == ('', job.folder / 'test/metrics.json')
        tested = read_config(command[2], command[command.index('--cfg-options') + 1 :])
        assert tested.model.predict_by == (way or dict(type='lfi.ByClassActivation'))
        assert tested.test_evaluator[-1].type == 'lfi.SemanticConsistencyMetric'
        assert tested.model.backbone == cfg.model.backbone and job.measures_localization
        assert reads_as_the_method(tested.model, jobs[-1].config().model)
    names = [file_of(preset, study, metric, tmp_path).name for metric in preset.metrics]
    assert names == [f'{study}.csv']
    # Where nothing is labelled nothing can be tuned.
    assert f'{study}-tuning' not in PRESETS


@pytest.mark.parametrize(
    ('study', 'controls'),
    [('shapes', {'other-image', 'shuffled-locations', 'mean-target'}), ('tiny-small', {'mean-target'})],
)
def test_who_can_say_where_it_looks_is_tested_by_the_config_that_asks(study, controls, tmp_path):
    jobs = {job.arm.name: job for job in plan(PRESETS[study], [7], [], tmp_path)}
    asked = {name for name, job in jobs.items() if job.measures_localization}
    by_head = {name for name in asked if not reads_out(name)}
    assert asked >= {'task-loss', 'logit-kd', *controls, *filter(reads_out, jobs)}
    for name in ('task-loss', 'logit-kd', *controls, 'lfi', next(name for name in jobs if ' in ' in name)):
        ((_, _, command),) = jobs[name].test_commands(Launcher(python='python'), tmp_path / 'x.pth')
        tested = read_config(command[2], command[command.index('--cfg-options') + 1 :])
        own = read_config(jobs[name].arm.config, [*jobs[name].options, *PRESETS[study].test_options])
        way = dict(type='lfi.ByClassActivation') if name in by_head else None
        assert tested.model.get('predict_by') == way and tested.model.backbone == own.model.backbone
        assert reads_as_the_method(tested.model, jobs['lfi'].config().model)
        # The same images make top-1 the same.
        datasets = [cfg.test_dataloader.dataset.to_dict() for cfg in (tested, own)]
        assert [dataset.pop('pipeline') for dataset in datasets] and datasets[0] == datasets[1]
    ((_, _, command),) = jobs['no-prior'].test_commands(Launcher(python='python'), tmp_path / 'x.pth')
    assert command[2] == jobs['no-prior'].arm.config


def reads_out(arm):
    return root_arm(arm.split()[0]) == METHOD


def reads_as_the_method(tested, method):
    """Whether a model is compared with its teacher as the method is; a cache has no test images."""
    reading = tested.supervision.interactions.get('reading')
    teachers = ({**model.teacher, 'cache': None} for model in (tested, method))
    return (
        reading == method.supervision.interactions.get('reading')
        and operator.eq(*teachers)
        and tested.teacher.get('cache') is None
    )


@pytest.mark.parametrize('study', [name for name in PRESETS if name.endswith('-tuning')])
def test_settings_are_tested_by_their_own_configs(study):
    assert all((arm.test_config, arm.test_options) == (None, ()) for arm in PRESETS[study].arms)


def test_all_classes_are_taught_as_part_of_them_is(tmp_path):
    preset = PRESETS['tiny-50']
    assert preset.negative_controls == {'other-image': 'lfi'}
    part = {job.arm.name: job.config() for job in plan(PRESETS['tiny-small'], [7], [], tmp_path)}
    for job in plan(preset, [7], [], tmp_path):
        cfg, theirs = job.config(), part[job.arm.name]
        for loader, images in (('train', 225), ('val', (225, 250)), ('test', None)):
            dataset = cfg[f'{loader}_dataloader'].dataset
            assert (dataset.max_classes, dataset.get('images_per_class')) == (50, images)
            assert dataset.split == ('val' if loader == 'test' else 'train')
        assert cfg.model.backbone == theirs.model.backbone
        for key in ('type', 'task', 'supervision', 'control', 'readout'):
            assert cfg.model.get(key) == theirs.model.get(key), (job.arm.name, key)
        assert cfg.optim_wrapper == theirs.optim_wrapper


def test_labels_that_pretrain_are_of_other_classes_than_those_tested(tmp_path):
    jobs = plan(PRESETS['tiny-few-pretrained'], [7], [], tmp_path)
    scratch = {job.arm.name: job.config() for job in plan(PRESETS['tiny-few-10'], [7], [], tmp_path)}
    (folder,) = {job.start.folder for job in jobs}
    for job in jobs:
        cfg, start = job.config(), job.start.config()
        for loader in ('train', 'val', 'test'):
            theirs = start[f'{loader}_dataloader'].dataset
            assert theirs.first_class == cfg.max_classes == 20
            assert theirs.max_classes == start.model.head.num_classes == start.data_preprocessor.num_classes
        # No teacher: labels alone.
        assert start.model.get('teacher') is None
        assert f'model.backbone.init_cfg.checkpoint={folder / "epoch_8.pth"}' in job.start_options()
        assert cfg.model.backbone == start.model.backbone
        # A teacher has another cache, and weights are those of another tuning.
        models = [
            _without_weights({**each.model.to_dict(), 'teacher': None})
            for each in (cfg, scratch[job.arm.name])
        ]
        assert models[0] == models[1]
        assert cfg.optim_wrapper == scratch[job.arm.name].optim_wrapper


def test_settings_of_a_pretrained_student_are_among_those_tried(tmp_path):
    jobs = {
        job.arm.name: job.config().model for job in plan(PRESETS['tiny-few-pretrained'], [7], [], tmp_path)
    }
    tried = [job.config().model for job in plan(PRESETS['tiny-few-pretrained-tuning'], [100], [], tmp_path)]
    ways = [(model.supervision, model.get('predict_by')) for model in tried]
    for arm in ('task-loss', 'logit-kd', 'dho', 'dense-features', 'lfi'):
        assert (jobs[arm].supervision, jobs[arm].get('predict_by')) in ways
    assert jobs['other-image'].supervision == jobs['lfi'].supervision


def _without_weights(config):
    if not isinstance(config, dict):
        return config
    return {key: _without_weights(value) for key, value in config.items() if not key.endswith('weight')}


def test_a_detectors_arms_differ_by_the_model_alone(tmp_path):
    preset = PRESETS['shapes-detector']
    assert preset.negative_controls == {'other-image': 'lfi'}
    jobs = plan(preset, [7], [], tmp_path)
    cfgs = {job.arm.name: job.config().to_dict() for job in jobs}
    for job in jobs:
        assert (job.cache and job.cache.name) == ARMS[job.arm.name].teacher_output
    models = {name: cfg.pop('model') for name, cfg in cfgs.items()}
    for name, model in models.items():
        assert (model['type'], model['task']) == ('lfi.Student', 'mmdet.MaskRCNN')
        prior = None if name == 'no-prior' else dict(type='lfi.AffinityPrior')
        assert model['supervision']['prior'] == prior
        assert cfgs[name] == cfgs['lfi'] and model['backbone'] == models['lfi']['backbone']
    assert batch_options(jobs[0], jobs[0].config(), 1) in ([], ['train_dataloader.batch_size=16'])
    names = [file_of(preset, 'shapes-detector', metric, tmp_path).name for metric in preset.metrics]
    assert names == ['shapes-detector-coco-bbox_mAP.csv', 'shapes-detector-coco-segm_mAP.csv']


def test_a_detector_of_few_boxes_has_those_of_its_seed_in_every_arm(tmp_path):
    jobs = plan(PRESETS['shapes-detector-few'], [7], [], tmp_path)
    data = [job.config().train_dataloader for job in jobs]
    assert all(loader.to_dict() == data[0].to_dict() for loader in data)
    few = data[0].dataset
    # A tenth of them.
    assert (few.type, few.labelled_images, few.dataset.num_images, few.seed) == (
        'lfi.FewLabels',
        120,
        1200,
        7,
    )
    assert data[0].sampler.type == 'lfi.LabelledShareSampler'
    check_few_labels(jobs[0].config())
    assert [job.cache and job.cache.name for job in jobs] == [None, 'maps', 'maps']
    # The config that a user takes has the study's settings, which are among those tried.
    taken = read_config('configs/detection/lfi_mask-rcnn_vit-128x6-p8_shapes-120-labels.py').model
    tried = [job.config().model for job in plan(PRESETS['shapes-detector-few-tuning'], [100], [], tmp_path)]
    for job in jobs[1:]:
        assert job.config().model.supervision == taken.supervision
    assert taken.supervision in [model.supervision for model in tried]


def test_what_is_pretrained_is_tuned_alike_in_every_arm(tmp_path):
    preset = PRESETS['shapes-pretraining']
    assert preset.negative_controls == {'other-image': 'lfi'}
    jobs = plan(preset, [7], [], tmp_path)
    cfgs = [job.config().to_dict() for job in jobs]
    assert all(cfg == cfgs[0] for cfg in cfgs) and {*cfgs[0]['model']['supervision']} == {'prior'}
    assert cfgs[0]['train_dataloader']['dataset']['labels_per_class'] == 10
    starts = [job.start.config() for job in jobs]
    rates = [cfg.optim_wrapper.optimizer.lr for cfg in starts]
    assert all(cfg.model.get('task') is None and cfg.model.head is None for cfg in starts)
    assert rates[0] == 0 and all(rate == rates[-1] > 0 for rate in rates[1:])
    # Its schedule has no other end than 0.
    assert all(part.get('eta_min', 0) == 0 for part in jobs[0].start.config().param_scheduler)
    assert all(job.start.config().train_dataloader.dataset.labels_per_class == 0 for job in jobs)
    assert {metric.split('/')[0] for metric in preset.metrics} == {'accuracy', 'start'}


def test_baselines_of_pretraining_have_settings_that_were_tried(tmp_path):
    tried = [job.config().model for job in plan(PRESETS['shapes-pretraining-tuning'], [100], [], tmp_path)]
    taken = [job.start.config().model for job in plan(PRESETS['shapes-pretraining'], [0], [], tmp_path)]
    baselines = [model.supervision for model in taken if model.supervision.interactions is None]
    kinds = [{part.type for part in found.values() if part} for found in baselines]
    assert kinds == [{'lfi.AffinityPrior', f'lfi.{name}'} for name in ('DenseFeatures', 'LightlyTrain')]
    assert all(found in [model.supervision for model in tried] for found in baselines)


def test_classes_that_are_named_at_test_time_are_asked_of_every_arm_alike(tmp_path):
    for job in plan(PRESETS['zero-shot'], [0], [], tmp_path):
        for _, _, command in job.test_commands(Launcher(None, None), tmp_path / 'x.pth'):
            config = next(part for part in command if part.endswith('.py') and 'configs/' in part)
            options = command[command.index('--cfg-options') + 1 :]
            model = read_config(config, options).model
            assert model.predict_by.type == 'lfi.ByTexts' and model.predict_by.concepts, job.arm.name
