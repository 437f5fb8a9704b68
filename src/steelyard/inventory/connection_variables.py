"""Ansible's connection variables, each with what becomes of it here: this table is validator and reference page.

The list is that of ansible-core's own documentation of its plugins `ssh`, `sudo` and `su`: a test reads it there, so a
new release's variable cannot be passed over. Of several names for one thing Ansible takes the last that is set.
"""

from __future__ import annotations

from typing import NamedTuple

from .ssh_options import Treatment


class Variable(NamedTuple):
    """A variable, or several names of one thing, of which the last that is set holds."""

    names: tuple[str, ...]
    treatment: Treatment
    what: str  # what it says; of one that is refused or means nothing, why


HOST = Variable(("ansible_host", "ansible_ssh_host"), Treatment.HONOURED, "the address; else the name of the host")
PORT = Variable(("ansible_port", "ansible_ssh_port"), Treatment.HONOURED, "the port; after one in `ansible_ssh_args`")
USER = Variable(
    ("ansible_user", "ansible_ssh_user"), Treatment.HONOURED, "who logs in; after one in `ansible_ssh_args`"
)
KEY = Variable(
    ("ansible_private_key_file", "ansible_ssh_private_key_file"),
    Treatment.HONOURED,
    "the file of a private key to offer",
)
PASSWORD = Variable(
    ("ansible_password", "ansible_ssh_pass", "ansible_ssh_password"), Treatment.HONOURED, "the password of the login"
)
CHECKING = Variable(
    ("ansible_host_key_checking", "ansible_ssh_host_key_checking"),
    Treatment.HONOURED,
    "`false` stands for `StrictHostKeyChecking=no`, where `ansible_ssh_args` says nothing of it",
)
TIMEOUT = Variable(("ansible_ssh_timeout",), Treatment.HONOURED, "seconds until a connection has to be there")
RETRIES = Variable(("ansible_ssh_retries",), Treatment.HONOURED, "how often a connection is tried again")
ARGUMENTS = Variable(
    ("ansible_ssh_args",), Treatment.HONOURED, "arguments of ssh, before all others; the first value of an option holds"
)
COMMON = Variable(
    ("ansible_ssh_common_args",),
    Treatment.HONOURED,
    "arguments of ssh, after those of the variables for port, key and user",
)
EXTRA = Variable(("ansible_ssh_extra_args",), Treatment.HONOURED, "arguments of ssh, after all others")
CONNECTION = Variable(
    ("ansible_connection",), Treatment.HONOURED, "`ssh`, `smart` or `paramiko`; another way to a host is refused"
)
EXECUTABLE = Variable(
    ("ansible_ssh_executable",), Treatment.HONOURED, "`ssh`, or a path that ends so; another program is refused"
)
BECOME = Variable(("ansible_become",), Treatment.HONOURED, "whether commands run as another user than the login's")
METHOD = Variable(("ansible_become_method",), Treatment.HONOURED, "`sudo`, `su` or `doas`; another method is refused")
BECOME_USER = Variable(("ansible_become_user",), Treatment.HONOURED, "that user; root where none is said")
BECOME_PASSWORD = Variable(
    ("ansible_become_password", "ansible_become_pass"), Treatment.HONOURED, "the password that `sudo` or `su` asks for"
)
BECOME_EXE = Variable(("ansible_become_exe",), Treatment.HONOURED, "the program, where it is not found by its name")
BECOME_FLAGS = Variable(("ansible_become_flags",), Treatment.HONOURED, "its options, in place of `-H` of sudo")
# the same of one method alone; it holds before the common name
METHODS_OWN = {
    "sudo": {
        BECOME_USER: "ansible_sudo_user",
        BECOME_PASSWORD: "ansible_sudo_pass",
        BECOME_EXE: "ansible_sudo_exe",
        BECOME_FLAGS: "ansible_sudo_flags",
    },
    "su": {
        BECOME_USER: "ansible_su_user",
        BECOME_PASSWORD: "ansible_su_pass",
        BECOME_EXE: "ansible_su_exe",
        BECOME_FLAGS: "ansible_su_flags",
    },
    "doas": {},
}
SUDO_CHDIR = Variable(("ansible_sudo_chdir",), Treatment.HONOURED, "the folder that sudo is started in")
_FILES = "files go over the connection that is there"
_SHARED = "one connection is kept open for the run"
VARIABLES = (
    HOST,
    PORT,
    USER,
    KEY,
    PASSWORD,
    CHECKING,
    TIMEOUT,
    RETRIES,
    ARGUMENTS,
    COMMON,
    EXTRA,
    CONNECTION,
    EXECUTABLE,
    BECOME,
    METHOD,
    BECOME_USER,
    BECOME_PASSWORD,
    BECOME_EXE,
    BECOME_FLAGS,
    *(
        Variable((name,), Treatment.HONOURED, f"`{common.names[0]}` for `{method}` alone; it holds before that one")
        for method, own in METHODS_OWN.items()
        for common, name in own.items()
    ),
    SUDO_CHDIR,
    Variable(
        ("ansible_private_key", "ansible_ssh_private_key"),
        Treatment.REFUSED,
        "a key is read from a file or an agent; name the file in `ansible_ssh_private_key_file`",
    ),
    Variable(
        ("ansible_private_key_passphrase", "ansible_ssh_private_key_passphrase"),
        Treatment.REFUSED,
        "a key with a passphrase is used through an agent",
    ),
    Variable(
        ("ansible_ssh_pkcs11_provider",), Treatment.REFUSED, "a smart card cannot be asked; load its key into an agent"
    ),
    Variable(
        ("ansible_ssh_password_mechanism", "ansible_sshpass_prompt"),
        Treatment.IRRELEVANT,
        "a password goes over the connection, through no other program",
    ),
    Variable(
        ("ansible_sftp_executable", "ansible_sftp_extra_args", "ansible_sftp_batch_mode"), Treatment.IRRELEVANT, _FILES
    ),
    Variable(
        ("ansible_scp_executable", "ansible_scp_extra_args", "ansible_ssh_transfer_method"),
        Treatment.IRRELEVANT,
        _FILES,
    ),
    Variable(
        ("ansible_pipelining", "ansible_ssh_pipelining"),
        Treatment.IRRELEVANT,
        "facts and commands always share a shell",
    ),
    Variable(("ansible_control_path", "ansible_control_path_dir"), Treatment.IRRELEVANT, _SHARED),
    Variable(("ansible_ssh_use_tty",), Treatment.IRRELEVANT, "commands run without a terminal"),
    Variable(("ansible_ssh_verbosity",), Treatment.IRRELEVANT, "no ssh is run that could say more"),
    Variable(("ansible_su_prompt_l10n",), Treatment.IRRELEVANT, "`su` is asked in English"),
)
NAMES = frozenset(name for variable in VARIABLES for name in variable.names)
REFUSED = tuple(variable for variable in VARIABLES if variable.treatment is Treatment.REFUSED)
