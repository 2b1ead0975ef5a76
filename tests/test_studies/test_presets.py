"""The studies are what they say."""

import shlex

import pytest
from lfi.config_files import tools_root
from lfi.studies.arms import ARMS
from lfi.studies.presets import GROUPS, PRESETS, SETTINGS


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
