# SPDX-License-Identifier: MIT
"""``python -m stockade``."""

from __future__ import annotations

from stockade.cli import main


if __name__ == "__main__":
    main()
