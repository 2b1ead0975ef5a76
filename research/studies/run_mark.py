"""What a run of a study leaves in its folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from lfi.errors import UsageError
from lfi.utils.fileio import AtomicLocalBackend


@dataclass(frozen=True)
class RunMark:
    """The settings that a run was started with, and, once it is finished, its result.

    Args:
        path: of the file, in the run's folder.
        identity: of the run's settings, as `settings_digest` gives it.
    """

    path: Path
    identity: str

    def read(self) -> dict:
        """What was written last; empty where there is nothing, or no complete file.

        Raises:
            UsageError: if the run was started with other settings.
        """
        try:
            content = json.loads(self.path.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        if content['identity'] != self.identity:
            raise UsageError(
                f'{self.path.parent} was started with other settings: remove it, or choose another folder'
            )
        return content

    def write(self, **content: object) -> None:
        """Replace what was written."""
        AtomicLocalBackend().put_text(json.dumps(dict(identity=self.identity, **content)), self.path)
