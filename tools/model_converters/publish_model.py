"""Strip a checkpoint of its training state, as `lfi export --to published` does.

python tools/model_converters/publish_model.py IN OUT
"""

import sys

from lfi.cli import run_command

if __name__ == '__main__':
    run_command('export', ['--to', 'published', *sys.argv[1:]])
