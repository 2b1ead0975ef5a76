import sys
from importlib import import_module

import pytest

INIT = """
from lfi.utils.lazy_names import lazy_names
__getattr__, __all__ = lazy_names(__name__, {'two': ('b', 'c'), 'one': ('a',)})
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / 'lazy_package'
    folder.mkdir()
    (folder / '__init__.py').write_text(INIT)
    (folder / 'one.py').write_text('a = 1\n')
    (folder / 'two.py').write_text('b, c = 2, 3\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    yield import_module('lazy_package')
    for name in [name for name in sys.modules if name.startswith('lazy_package')]:
        del sys.modules[name]


def test_a_module_is_imported_when_one_of_its_names_is_asked_for(package):
    assert package.__all__ == ['a', 'b', 'c']
    assert not {'lazy_package.one', 'lazy_package.two'} & set(sys.modules)
    assert package.c == 3
    assert 'lazy_package.two' in sys.modules and 'lazy_package.one' not in sys.modules
    from lazy_package import a

    assert a == 1


def test_an_unknown_name_is_no_attribute(package):
    with pytest.raises(AttributeError, match="module 'lazy_package' has no attribute 'd'"):
        getattr(package, 'd')  # noqa: B009
    with pytest.raises(ImportError, match='cannot import name'):
        from lazy_package import d  # noqa: F401


@pytest.mark.parametrize('name', ['research.studies', 'lfi.pseudo_labels'])
def test_what_our_packages_offer_is_there(name):
    package = import_module(name)
    for offered in package.__all__:
        assert getattr(package, offered).__module__.startswith(f'{name}.')
