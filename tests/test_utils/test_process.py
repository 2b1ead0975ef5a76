"""Settings that several threads change at a time."""

import threading
from types import SimpleNamespace

import pytest
from lfi.utils.process import override


def test_a_setting_is_its_own_again_after_the_last_of_overlapping_blocks():
    owner, inside, leave = SimpleNamespace(value=1), threading.Event(), threading.Event()

    def other():
        with override(owner, 'value', 2):
            inside.set()
            leave.wait(5)

    thread = threading.Thread(target=other)
    with override(owner, 'value', 2):
        thread.start()
        inside.wait(5)
    assert owner.value == 2
    leave.set()
    thread.join()
    assert owner.value == 1


def test_an_error_restores_it_too():
    owner = SimpleNamespace(value=1)
    with pytest.raises(KeyError), override(owner, 'value', 2):
        raise KeyError
    assert owner.value == 1
