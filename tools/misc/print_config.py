"""Print a config with its bases merged in, as `lfi print-config` does.

python tools/misc/print_config.py CONFIG
"""

from lfi.cli import run_command

if __name__ == '__main__':
    run_command('print-config')
