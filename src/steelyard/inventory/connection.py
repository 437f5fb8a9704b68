"""Ansible's connection variables as pyinfra's and ssh's, so that one inventory serves all three.

The order is that of ansible-core's command line, of which ssh takes the first value: `ansible_ssh_args`, then the
variables for host keys, port, key, user and time, then `ansible_ssh_common_args` and `ansible_ssh_extra_args`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from steelyard.errors import ConnectionNotSupported, SettingWrong, SteelyardError

from . import connection_variables as known
from .connection_variables import METHODS_OWN, REFUSED, Variable
from .fleet import Fleet, FleetHost
from .locate import locate
from .ssh_arguments import ArgumentProblem, SshOption, first, options_in, way_of
from .ssh_options import Treatment

WAYS = ("ssh", "smart", "paramiko", "paramiko_ssh")  # one protocol, whichever program Ansible would run
AS_IN_A_SHELL = "words as in a shell"
# options that pyinfra's host data has a name for
BY_NAME = {"port": "ssh_port", "user": "ssh_user", "stricthostkeychecking": "ssh_strict_host_key_checking"}

ConnectionData = dict[str, Any]  # by the names of pyinfra's host data, and a few of ours


def value_of(host: FleetHost, variable: Variable) -> Any:
    """The variable's value: of its names the last that is set, as Ansible has it; None where none is."""
    return next((host.variables[name] for name in reversed(variable.names) if _is_set(host, name)), None)


def name_of(host: FleetHost, variable: Variable) -> str:
    """The name under which the variable is set; its first where it is not."""
    return next((name for name in reversed(variable.names) if _is_set(host, name)), variable.names[0])


def _is_set(host: FleetHost, name: str) -> bool:
    return host.variables.get(name) not in (None, "")


def is_true(value: Any) -> bool:
    """Ansible's booleans: an INI file gives them as text."""
    return value is True or str(value).strip().lower() in ("1", "1.0", "true", "yes", "on", "y", "t")


def asked_options(host: FleetHost) -> tuple[SshOption, ...]:
    """Options of ssh that the host's variables ask for, in ssh's order. Raises ArgumentProblem."""
    arguments = {
        variable: options_in(str(value_of(host, variable) or ""))
        for variable in (known.ARGUMENTS, known.COMMON, known.EXTRA)
    }
    options = [*arguments[known.ARGUMENTS]]
    checking = value_of(host, known.CHECKING)
    if checking is not None and not is_true(checking):
        options.append(SshOption("stricthostkeychecking", "off"))
    for variable, name in (
        (known.PORT, "port"),
        (known.KEY, "identityfile"),
        (known.USER, "user"),
        (known.TIMEOUT, "connecttimeout"),
    ):
        value = value_of(host, variable)
        if value is not None:
            options.append(SshOption(name, str(value)))
    return (*options, *arguments[known.COMMON], *arguments[known.EXTRA])


def connection_data(host: FleetHost) -> ConnectionData:
    """Return, by pyinfra's names, how to reach the host; the rest as `ssh_options`, in ssh's order.

    Variables that cannot be used are left out: see `connection_problems`.
    """
    connection: ConnectionData = {"ssh_hostname": host.address}
    try:
        options = asked_options(host)
    except ArgumentProblem:
        options = ()
    for option, name in BY_NAME.items():
        value = first(options, option)
        if value is not None and option != "port":
            connection[name] = value
        elif value is not None and value.isdecimal():
            connection[name] = int(value)
    if connection.get("ssh_strict_host_key_checking") == "ask":  # and there is nobody to ask
        connection["ssh_strict_host_key_checking"] = "yes"
    key = value_of(host, known.KEY)
    if key is not None:
        connection["ssh_key"] = str(key)
    files = first(options, "userknownhostsfile")
    if files is not None:
        connection["ssh_known_hosts_file"] = files
    config = [option.value for option in options if option.name == "configfile"]
    if config:
        connection["ssh_config_file"] = config[-1]  # here ssh takes the last
    named = {*BY_NAME, "configfile", "userknownhostsfile"}
    rest = tuple(
        option
        for option in options
        if option.name not in named and (option.name, option.value) != ("identityfile", str(key))
    )
    if rest:
        connection["ssh_options"] = rest
    password = value_of(host, known.PASSWORD)
    if password is not None:
        connection["ssh_password"] = str(password)
    retries = value_of(host, known.RETRIES)
    if retries is not None and str(retries).isdecimal():
        connection["ssh_connect_retries"] = int(retries)
    return {**connection, **_become_data(host)}


def method_of(host: FleetHost) -> str:
    """Return how the host becomes another user; sudo where nothing is said."""
    return str(value_of(host, known.METHOD) or "sudo").removeprefix("ansible.builtin.")


def of_method(host: FleetHost, variable: Variable) -> Any:
    """A variable of becoming, under the name that the host's method alone has for it, or the common one."""
    own = METHODS_OWN.get(method_of(host), {}).get(variable)
    return host.variables[own] if own is not None and _is_set(host, own) else value_of(host, variable)


def _become_data(host: FleetHost) -> ConnectionData:
    become = value_of(host, known.BECOME)
    data: ConnectionData = {}
    if become is not None:
        data["_sudo"] = is_true(become)
    user = of_method(host, known.BECOME_USER)
    if user is not None and str(user) != "root":
        data["_sudo_user"] = str(user)
    password = of_method(host, known.BECOME_PASSWORD)
    if password is not None:
        data["_sudo_password"] = str(password)
    for name, value in (
        ("steelyard_become_method", None if method_of(host) == "sudo" else method_of(host)),
        ("steelyard_become_exe", of_method(host, known.BECOME_EXE)),
        ("steelyard_become_flags", of_method(host, known.BECOME_FLAGS)),
        ("steelyard_become_chdir", value_of(host, known.SUDO_CHDIR) if method_of(host) == "sudo" else None),
    ):
        if value is not None:
            data[name] = str(value)
    return data


def connection_problems(fleet: Fleet, host: FleetHost) -> list[SteelyardError]:
    """Return why this host cannot be reached as its variables say, each with file and line: it alone is concerned."""
    problems: list[SteelyardError] = []
    for name, value, wanted in wrong_connection(host):
        where, is_secret = locate(fleet.path, host, (name,)), host.hides((name,))
        allowed = AS_IN_A_SHELL if is_secret and wanted.startswith(AS_IN_A_SHELL) else wanted
        problems.append(SettingWrong(where=where, key=name, found="a secret" if is_secret else value, allowed=allowed))
    for name, value, why in refused_connection(host):
        where, shown = locate(fleet.path, host, (name,)), "what it hides" if host.hides((name,)) else value
        problems.append(ConnectionNotSupported(where=where, key=name, value=shown, why=why, host=host.name))
    return problems


def _arguments(host: FleetHost) -> Iterator[tuple[str, str]]:
    for variable in (known.ARGUMENTS, known.COMMON, known.EXTRA):
        if (value := value_of(host, variable)) is not None:
            yield name_of(host, variable), str(value)


def wrong_connection(host: FleetHost) -> list[tuple[str, str, str]]:
    """(variable, value, allowed) of values that nobody could use."""
    wrong = []
    for variable, allowed, is_right in (
        (known.PORT, "a port, 1 to 65535", lambda text: text.isdecimal() and 0 < int(text) < 65536),
        (known.TIMEOUT, "whole seconds", str.isdecimal),
        (known.RETRIES, "a whole number", str.isdecimal),
    ):
        value = value_of(host, variable)
        if value is not None and not is_right(str(value)):
            wrong.append((name_of(host, variable), repr(value)[:120], allowed))
    port = host.variables.get("ssh_port")  # pyinfra's own name, and it takes no text
    if port is not None and (not isinstance(port, int) or not 0 < port < 65536):
        wrong.append(("ssh_port", repr(port)[:120], "a port, 1 to 65535"))
    try:
        # what no resolver would be asked for, the socket itself refuses
        host.address.rpartition("@")[2].encode("idna")
    except UnicodeError:
        allowed = "an address, or a name whose parts between dots have 1 to 63 letters"
        wrong.append((name_of(host, known.HOST), repr(host.address)[:120], allowed))
    for name, arguments in _arguments(host):
        try:
            options_in(arguments)
        except ArgumentProblem as problem:
            if problem.treatment is not Treatment.REFUSED:
                wrong.append((name, "no options of ssh", f"{AS_IN_A_SHELL}: {problem}"))
    try:
        way_of(asked_options(host))
    except ArgumentProblem as problem:
        if not wrong and problem.treatment is not Treatment.REFUSED:
            wrong.append((known.COMMON.names[0], "no options of ssh", f"{problem.argument} once: {problem.why}"))
    key = str(value_of(host, known.KEY) or "")
    try:
        Path(key).expanduser()
    except RuntimeError:
        wrong.append((name_of(host, known.KEY), repr(key)[:120], "a path; there is no user of that name here"))
    return wrong


def refused_connection(host: FleetHost) -> list[tuple[str, str, str]]:
    """(variable, value, why) of values that Ansible's connection honours and ours does not."""
    refused = [(name_of(host, one), "it", one.what) for one in REFUSED if value_of(host, one) is not None]
    for name, arguments in _arguments(host):
        try:
            options_in(arguments)
        except ArgumentProblem as problem:
            if problem.treatment is Treatment.REFUSED:
                refused.append((name, problem.argument, problem.why))
    way = str(value_of(host, known.CONNECTION) or "ssh").removeprefix("ansible.builtin.")
    if way not in WAYS:
        refused.append((known.CONNECTION.names[0], f"`{way}`", "hosts are reached by SSH"))
    program = str(value_of(host, known.EXECUTABLE) or "ssh")
    if program.rpartition("/")[2] != "ssh":
        refused.append((known.EXECUTABLE.names[0], f"`{program}`", "no program stands between, but a ProxyCommand may"))
    if is_true(value_of(host, known.BECOME)):
        method = method_of(host)
        if method not in METHODS_OWN:
            refused.append((known.METHOD.names[0], f"`{method}`", f"it is one of {', '.join(METHODS_OWN)}"))
        elif method == "doas" and of_method(host, known.BECOME_PASSWORD) is not None:
            why = "doas asks for one at a terminal only; let it pass without (`permit nopass`)"
            refused.append((name_of(host, known.BECOME_PASSWORD), "a password for `doas`", why))
    return refused


def host_data(fleet: Fleet, host: FleetHost) -> dict[str, object]:
    """Return the variables of a host and what pyinfra's SSH needs, under pyinfra's names; and, as
    `connection_problems`, why it cannot be reached at all.
    """
    problems = tuple(connection_problems(fleet, host))
    # pyinfra would end the whole run over one of its own variables with a wrong type
    variables = {name: value for name, value in host.variables.items() if not (problems and name.startswith("ssh_"))}
    return {
        **variables,
        **connection_data(host),
        "connection_problems": problems,
        "host_name": host.name,
        "host_groups": host.groups,
    }
