# SPDX-License-Identifier: MIT
"""The control socket: JSON lines over a unix socket; ``protocol`` is what both ends share."""
