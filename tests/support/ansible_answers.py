"""What Ansible's own commands say of inventories: `ansible-inventory --list`, and every variable by `ansible -m debug`.

One process for all of them, forked per command, because importing Ansible costs more than what it does here. Reads
FOLDER/NAME/inventory*, FOLDER/NAME/names.json and FOLDER/password; writes FOLDER/NAME/list.json and
FOLDER/NAME/values/HOST.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

ABSENT = "no such variable"


def forked(work: Callable[[], object], output: Path) -> None:
    """Do the work in a child whose output goes to a file, because a command of Ansible's can run once a process."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(file, 1)
            work()
            code = 0
        except SystemExit as done:
            code = int(done.code or 0)
        finally:
            sys.stdout.flush()
            os._exit(code)
    os.waitpid(child, 0)


def layers(case: Path) -> list[str]:
    """The inventories of a case as options."""
    return [word for path in sorted(case.glob("inventory*")) for word in ("-i", path.name)]


def main(folder: Path) -> None:
    from ansible.cli.adhoc import AdHocCLI
    from ansible.cli.inventory import InventoryCLI

    vault = ["--vault-password-file", str(folder / "password")]
    message = f"msg={{{{ query('vars', *asked_names, default='{ABSENT}') }}}}"
    for case in sorted(path for path in folder.iterdir() if path.is_dir()):
        os.chdir(case)
        words = ["ansible-inventory", *layers(case), "--list", *vault]
        forked(InventoryCLI(words).run, case / "list.json")
    for case in sorted(path for path in folder.iterdir() if path.is_dir()):
        os.chdir(case)
        words = ["ansible", "all", *layers(case), "-c", "local", "-f", "8", "-m", "debug", "-a", message]
        words += ["-e", "@names.json", "-t", str(case / "values"), *vault]

        def ask(words: list[str] = words) -> object:
            return AdHocCLI(words).run()

        forked(ask, case / "debug.txt")


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
