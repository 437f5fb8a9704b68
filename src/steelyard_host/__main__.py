"""Command line of the helper. Answers are JSON on stdout; a failure is one sentence on stderr and exit 1."""

from __future__ import annotations

import json
import sys

from steelyard_host.commands.parser import parse
from steelyard_host.errors import HelperError
from steelyard_host.wire.codec import to_json


def main() -> int:
    """Runs the command of this process's arguments; its exit status."""
    args = parse(sys.argv[1:])
    try:
        answer = args.call(args)
    except HelperError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print("%s: %s" % (error.filename or args.command, error.strerror or error), file=sys.stderr)
        return 1
    if isinstance(answer, int):
        return answer
    print(json.dumps(to_json(answer), sort_keys=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
