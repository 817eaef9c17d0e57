from __future__ import annotations

import sys
from pathlib import Path

from support.fixtures import scripted_server

sys.path.insert(0, str(Path(__file__).parent))

__all__ = ["scripted_server"]
