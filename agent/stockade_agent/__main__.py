# SPDX-License-Identifier: MIT
"""``python3 -m stockade_agent`` is the command ``stockade-agent``."""

import sys

from stockade_agent.cli import main


sys.exit(main())
