"""Train a student with and without LFI on built-in data, in minutes, and compare.

This script needs a clone of LFI: the code is in `research/commands/quickstart.py`.
"""

import sys
from pathlib import Path

if __name__ == '__main__':
    # The path has the folder of this script, and `research` is in the parent of that.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    try:
        from research.commands import quickstart
    except ModuleNotFoundError as error:
        if (error.name or '').partition('.')[0] != 'research':
            raise
        sys.exit(f'error: {error}: the quickstart needs a clone of LFI, because wheels lack research/')
    quickstart.run()
