import sys

import pytest
from lfi.engine.launch import UsageError
from lfi.engine.tool_output import finished_epoch, tool_output


def test_lines_of_both_streams():
    code = 'import sys; print("out", flush=True); print("err", file=sys.stderr)'
    assert list(tool_output([sys.executable, '-c', code], 'a tool')) == ['out\n', 'err\n']


def test_a_failure_is_named_with_its_last_lines():
    code = '[print(i) for i in range(99)]; raise SystemExit(3)'
    with pytest.raises(UsageError, match='(?s)^69\n.*\na tool failed with exit code 3: ') as error:
        list(tool_output([sys.executable, '-c', code], 'a tool'))
    assert '\n68\n' not in str(error.value)


def test_what_the_log_says_of_an_epoch():
    line = '11/25 15:46:40 - mmengine - INFO - Epoch(val) [12][5/5]    accuracy/top1: 12.0'
    assert finished_epoch(line) == 12
    assert finished_epoch(line.replace('val', 'train')) is None
