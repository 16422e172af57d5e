# SPDX-License-Identifier: MIT
"""The command ``stockade-agent``. Nothing but this package turns errors into exit codes.

    main ─▶ parser ─▶ commands, …    siblings; each says in ``add`` which commands it brings
      ├───▶ service                  the agent itself, as its unit starts it
      └───▶ fail2ban_client ─▶ words ─▶ layout    another's command line, and a link's

What a command does not need it does not import: ``status`` is asked often.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import Callable, Optional

from stockade_agent.cli import service
from stockade_agent.cli.codes import FAIL2BAN_CLIENT, FAILED, NO_AGENT, OK, USAGE
from stockade_agent.errors import ConfigError, NoAgentError, StockadeError
from stockade_agent.plain import plain


__all__ = ["FAILED", "NO_AGENT", "OK", "USAGE", "main"]


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run the command line and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    if argv is None and os.path.basename(sys.argv[0]) == FAIL2BAN_CLIENT:
        words.insert(0, FAIL2BAN_CLIENT)
    call, debug = _asked(words)
    try:
        code = call()
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing is left to be flushed to him.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        return FAILED
    except Exception as error:  # noqa: BLE001 - an exit code of 1 would say that the user erred
        if debug or not isinstance(error, StockadeError):
            import traceback  # noqa: PLC0415 - what is not needed is not imported

            traceback.print_exc()
        print(f"stockade-agent: {plain(str(error) or repr(error))}", file=sys.stderr)
        if isinstance(error, ConfigError):
            return USAGE
        return NO_AGENT if isinstance(error, NoAgentError) else FAILED
    return code


def _asked(words: Sequence[str]) -> tuple[Callable[[], int], bool]:
    """Return what a command line calls, and whether an error is to show its traceback."""
    run = service.plain(words)
    if run is not None:
        return run, False
    from stockade_agent.cli import commands, explain, regex  # noqa: PLC0415 - see ``service``
    from stockade_agent.cli.parser import Commands  # noqa: PLC0415

    if words[:1] == [FAIL2BAN_CLIENT]:
        return partial(commands.speak, words[1:]), False
    found = Commands()
    commands.add(found)
    regex.add(found)
    explain.add(found)
    asked = found.parser.parse_args(words)
    return partial(asked.call, asked), asked.debug
