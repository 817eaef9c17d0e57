"""What answers the agent's messages: language models behind an endpoint or in process, and playbooks."""

from __future__ import annotations

import os

# smolagents would load a `.env` file from wherever the person stands, with keys nobody meant for this run.
os.environ["PYTHON_DOTENV_DISABLED"] = "1"
