"""What MMEngine prints without a logger."""

import logging

import mmengine.logging
from lfi.utils.debug_messages import drop_debug_messages


def test_only_debug_messages_without_a_logger_are_dropped(monkeypatch, capsys):
    monkeypatch.setattr(mmengine.logging, 'print_log', mmengine.logging.print_log)
    drop_debug_messages()
    mmengine.logging.print_log('an optional package is missing', level=logging.DEBUG)
    mmengine.logging.print_log('first')
    mmengine.logging.print_log('second', None, logging.ERROR)
    assert capsys.readouterr().out == 'first\nsecond\n'
