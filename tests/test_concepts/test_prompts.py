import pytest
from lfi.concepts import prompt_templates


@pytest.mark.parametrize(('name', 'count'), [('openai', 80), ('simple', 7)])
def test_an_ensemble_by_its_name(name, count):
    templates = prompt_templates(name)
    assert len(set(templates)) == count
    assert all(template.count('{}') == 1 for template in templates)


def test_templates_stay_as_they_are():
    assert prompt_templates(['a {}.', 'many {}s']) == ('a {}.', 'many {}s')


def test_an_unknown_ensemble_is_refused():
    with pytest.raises(
        ValueError, match=r"templates='imagenet' is unknown; choose from \['openai', 'simple'\]"
    ):
        prompt_templates('imagenet')
