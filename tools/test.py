"""Evaluate a checkpoint, as `lfi test` does.

python tools/test.py CONFIG CHECKPOINT
tools/dist_test.sh CONFIG CHECKPOINT 8
"""

from lfi.cli import run_command

if __name__ == '__main__':
    run_command('test')
