"""Train a student without LFI and with it, in minutes on built-in data, and compare.

It runs in a clone: its code is `research/commands/quickstart.py`.
"""

import sys
from pathlib import Path

if __name__ == '__main__':
    # A script has its own folder on the path, and `research` lies beside that.
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    try:
        from research.commands import quickstart
    except ModuleNotFoundError as error:
        if (error.name or '').partition('.')[0] != 'research':
            raise
        sys.exit(f'error: {error}: the quickstart runs in a clone of LFI, since no wheel has research/')
    quickstart.run()
