"""Train a model, as `lfi train` does.

python tools/train.py CONFIG
tools/dist_train.sh CONFIG 8 --amp
"""

from lfi.cli import run_command

if __name__ == '__main__':
    run_command('train')
