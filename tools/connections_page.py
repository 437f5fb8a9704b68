"""Writes docs/reference/connections.md: what becomes of Ansible's connection variables and of ssh's options.

Truth: the tables by which inventories are read and checked.
"""

from __future__ import annotations

from steelyard.inventory.connection_variables import VARIABLES
from steelyard.inventory.ssh_options import HONOURED, IRRELEVANT, REFUSED, Treatment

INTRODUCTION = """# Connections

Hosts are reached as `ansible` reaches them with the same inventory: every variable that ansible-core documents for its
connection `ssh` and for becoming another user, and every option of ssh, is honoured, means nothing here, or is refused
by name. A value that cannot be used is the error of its host; the other hosts are planned.

ssh takes the **first** value of an option. The order is Ansible's: `ansible_ssh_args`, then the variables for host
keys, port, key, user and time, then `ansible_ssh_common_args`, then `ansible_ssh_extra_args`, then ssh's own files. Of
several names for one variable the **last** in its row holds, as in Ansible: `ansible_ssh_host` before `ansible_host`.

`~/.ssh/config` and `/etc/ssh/ssh_config`, or the file of `-F`, are read by ssh itself (`ssh -G`), where they say
anything that concerns a connection. Host keys that nobody has recorded are refused unless one of these says otherwise.
For ssh `~` is the home of the user's entry, whatever HOME says. Where HOME is another folder, as in containers of CI
runners, known keys and login keys below it hold too, before those of ssh's home; `doctor --record-keys` writes there.

Other than with ssh, a jump host is also offered the keys that the inventory names for the host behind it, and its key
is also looked for in the `UserKnownHostsFile` that the inventory names. What a login shell and its files print before
the first answer is passed over.
"""


def connections_page() -> str:
    """The page as text, without the line that says who wrote it."""
    parts = [INTRODUCTION]
    for title, treatment in (
        ("## Variables", Treatment.HONOURED),
        ("## Variables that mean nothing here", Treatment.IRRELEVANT),
        ("## Variables that are refused", Treatment.REFUSED),
    ):
        parts.append(f"{title}\n\n| variable | {'says' if treatment is Treatment.HONOURED else 'why'} |\n|---|---|")
        for variable in VARIABLES:
            if variable.treatment is treatment:
                parts.append(f"| {', '.join(f'`{name}`' for name in variable.names)} | {variable.what} |")
        parts.append("")
    parts.append("## Options of ssh\n\nHonoured: " + ", ".join(f"`{name}`" for name in sorted(HONOURED)) + ".\n")
    parts.append("| refused | but for | why |\n|---|---|---|")
    for name, (harmless, why) in sorted(REFUSED.items()):
        parts.append(f"| `{name}` | {', '.join(f'`{value}`' for value in harmless)} | {why} |")
    parts.append("\n| means nothing here | why |\n|---|---|")
    parts += [f"| `{name}` | {why} |" for name, why in sorted(IRRELEVANT.items())]
    return "\n".join(parts) + "\n"
