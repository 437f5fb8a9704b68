"""Fixes of inventories, settings and vaults."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from fix_case import Attempt, inventory, mends, printed, raised, run
from test_settings import MODELS, fleet_with

from steelyard import errors
from steelyard.errors import SteelyardError
from steelyard.inventory.choice import choose_inventory
from steelyard.inventory.limit import Limit
from steelyard.inventory.read import read_fleet
from steelyard.site.resolve import site_of
from steelyard.site.secret_values import wrong_secrets
from steelyard.site.validation import check_settings, secret_fields

# Inventories


@mends(errors.InventoryMissing)
def inventory_missing(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    error = yield lambda: read_fleet(tmp / "prod")
    assert run(printed(error, "steelyard init")).returncode == 0


@mends(errors.InventoryNotNamed)
def inventory_not_named(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    error = yield lambda: choose_inventory("steelyard plan")
    words = [word.replace("NAME", "prod") for word in printed(error, "steelyard init")]
    assert run(words, cwd=tmp).returncode == 0


@mends(errors.InventoryUnreadable)
def inventory_unreadable(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    path = inventory(tmp / "prod", "all: {hosts: [g1]}\n")
    error = yield lambda: read_fleet(path)
    assert "Failed to parse" in " ".join(run(printed(error, "ansible-inventory")).stderr.split())
    inventory(path)


@mends(errors.FileSyntaxWrong)
def file_syntax(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    path = inventory(tmp / "prod", "all:\n\thosts: {g1: {}}\n")
    error = yield lambda: read_fleet(path)
    assert error.where == f"{path}/hosts.yml:2"
    assert "spaces" in error.remedy
    (path / "hosts.yml").write_text("all:\n  hosts: {g1: {}}\n")


def _with_clients(tmp: Path, clients: str) -> Path:
    path = inventory(tmp / "prod")
    (path / "group_vars/all").mkdir(parents=True, exist_ok=True)
    (path / "group_vars/all/roles.yml").write_text(f"gateway: {{clients: {clients}}}\n")
    return path


def _secrets_checked(path: Path) -> None:
    for error in wrong_secrets(read_fleet(path), secret_fields()):
        raise error


@mends(errors.SecretUnusable)
def secret_unusable(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    path = _with_clients(tmp, "{dify: changeme}")
    error = yield lambda: _secrets_checked(path)
    made = subprocess.run(printed(error, "openssl"), capture_output=True, text=True, check=True).stdout.strip()
    _with_clients(tmp, f"{{dify: {made}}}")


@mends(errors.SecretTwice)
def secret_twice(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    path = _with_clients(tmp, "{dify: 4f0a9d1c77e2b35d18aa, demo: 4f0a9d1c77e2b35d18aa}")
    error = yield lambda: _secrets_checked(path)
    made = subprocess.run(printed(error, "openssl"), capture_output=True, text=True, check=True).stdout.strip()
    _with_clients(tmp, f"{{dify: 4f0a9d1c77e2b35d18aa, demo: {made}}}")


@mends(errors.PyinfraInventoryBroken)
def pyinfra_inventory(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    path = tmp / "prod.py"
    path.write_text("# hosts\nhosts = [nme]\n")
    error = yield lambda: raised(
        run(["steelyard", "plan", "-i", str(path), "--json"])
    )  # pyinfra keeps what it compiled
    assert error.where == f"{path}:2"
    assert "NameError" in str(error)
    path.write_text('hosts = ["g1"]\n')


@mends(errors.InventoryEmpty)
def inventory_empty(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    path = inventory(tmp / "prod", "all: {}\n")
    error = yield lambda: read_fleet(path)
    file = Path(error.remedy.removeprefix("add hosts to "))
    file.write_text("all: {hosts: {g1: {}}}\n")


@mends(errors.PlaceholdersLeft)
def placeholders(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    """The doctor's own commands, with what their capitals stand for."""
    assert run(["steelyard", "init", str(tmp / "prod")]).returncode == 0
    error = yield lambda: raised(run(["steelyard", "plan", "-i", str(tmp / "prod"), "--json"]))
    told = run([*printed(error, "steelyard doctor"), "--json"]).stdout
    fixes = [found["fix"] for found in json.loads(told)["findings"] if "CHANGE-ME" in found["fix"]]
    assert fixes
    for fix in fixes:
        if fix.startswith("sed "):
            subprocess.run(["sh", "-c", re.sub(r"\|[A-Z-]+\|' ", "|10.0.0.7|' ", fix)], check=True)
    for file in (tmp / "prod").rglob("*.yml"):  # secrets are pasted by hand; here their value is
        file.write_text(re.sub(r"CHANGE-ME[A-Za-z0-9-]*", "0123456789abcdefghij", file.read_text()))


@mends(errors.LimitMatchedNoHost)
def limit(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    fleet, pattern = read_fleet(fleet_with(tmp)), ["gpus"]
    error = yield lambda: Limit(pattern[0]).select(fleet)
    pattern[0] = printed(error, "gpu")[0]


@mends(errors.LimitFileWrong)
def limit_file(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    path, listed = fleet_with(tmp), tmp / "failed.txt"
    listed.write_text("")
    fleet = read_fleet(path)
    error = yield lambda: Limit(f"@{listed}").select(fleet)
    listed.write_text(run([*printed(error, "steelyard inventory"), "-i", str(path)]).stdout.split()[0] + "\n")


def settings_case(tmp: Path, models: str, roles: str = "") -> Callable[[], None]:
    path = fleet_with(tmp, models, roles)

    def attempt() -> None:
        fleet = read_fleet(path)
        for error in check_settings(fleet):
            raise error
        site_of(fleet)

    return attempt


def replace(tmp: Path, old: str, new: str, name: str = "models.yml") -> None:
    file = tmp / "group_vars/all" / name
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


@mends(errors.SettingUnknown)
def setting_unknown(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    error = yield settings_case(tmp, MODELS.replace("port: 8000", "prot: 8000"))
    replace(tmp, "prot", printed(error, "port")[0])


@mends(errors.SettingWrong)
def setting_wrong(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    error = yield settings_case(tmp, MODELS.replace("port: 8000", "port: http"))
    assert "port" in error.remedy
    replace(tmp, "port: http", "port: 8000")


@mends(errors.SettingMissing)
def setting_missing(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    error = yield settings_case(tmp, MODELS.replace("    version: v1\n", ""))
    key = printed(error, "models")[0].rsplit(".", 1)[1]
    replace(tmp, "    serve:", f"    {key}: v1\n    serve:")


@mends(errors.NameWrong)
def name_wrong(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    error = yield settings_case(tmp, MODELS.replace("llm/tiny", "llm/../tiny"))
    assert printed(error, "llm") == ["llm/../tiny"]
    replace(tmp, "llm/../tiny", "llm/tiny")


@mends(errors.NamesMeet)
def names_meet(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    other = MODELS.removeprefix("models:\n").replace("llm/tiny", "llm/other").replace("8000", "8001")
    error = yield settings_case(tmp, MODELS + other.replace("alias: tiny", "alias: Tiny"))
    assert printed(error, "llm") == ["llm/other"]
    assert "another alias" in error.remedy
    replace(tmp, "alias: Tiny", "alias: tiny.other")


@mends(errors.PortTwice)
def port_twice(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    other = MODELS.removeprefix("models:\n").replace("llm/tiny", "llm/other").replace("alias: tiny", "alias: other")
    error = yield settings_case(tmp, MODELS + other)
    assert "serve.port" in error.remedy
    replace(tmp, other, other.replace("8000", "8001"))


@mends(errors.OptionOwned)
def option_owned(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    error = yield settings_case(tmp, MODELS.replace("port: 8000", "port: 8000\n      options: {port: 9}"))
    assert "remove it" in error.remedy
    replace(tmp, "\n      options: {port: 9}", "")


def template_case(tmp: Path, said: str) -> Callable[[], None]:
    path = fleet_with(tmp, MODELS, said)

    def attempt() -> None:
        for host in read_fleet(path).hosts:
            if host.error is not None:
                raise host.error

    return attempt


@mends(errors.VariableUndefined)
def variable_undefined(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    error = yield template_case(tmp, "vllm: {api_key: '{{ vault_key }}'}\n")
    assert "define it" in error.remedy
    replace(tmp, "vllm:", "vault_key: 0123456789abcdef\nvllm:", "roles.yml")


@mends(errors.TemplateWrong)
def template_wrong(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    error = yield template_case(tmp, "vllm: {api_key: '{{ vault key }}'}\n")
    assert "`!unsafe`" in error.remedy
    replace(tmp, "'{{", "!unsafe '{{", "roles.yml")


@mends(errors.TemplateRecursive)
def template_recursive(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    error = yield template_case(tmp, "key: '{{ vllm.api_key }}'\nvllm: {api_key: '{{ key }}'}\n")
    assert "a variable that it asks for" in error.remedy
    replace(tmp, "key: '{{ vllm.api_key }}'", "key: 0123456789abcdef", "roles.yml")


@mends(errors.LookupFailed)
def lookup_failed(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    error = yield template_case(tmp, f"vllm: {{api_key: \"{{{{ lookup('file', '{tmp}/token') }}}}\"}}\n")
    assert "mend what is looked up" in error.remedy
    (tmp / "token").write_text("0123456789abcdef")


@mends(errors.NameTaken)
def name_taken(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    error = yield settings_case(tmp, MODELS, "gateway: 10.4.0.1\n")
    [word] = [word for word in error.remedy.split("`") if word == "steelyard_gateway"]
    replace(tmp, "gateway: 10.4.0.1", f"gateway: 10.4.0.1\n{word}: {{port: 8081}}", "roles.yml")


# The vault


def vaulted(tmp: Path, whole: bool) -> Path:
    """An inventory with a secret, as a value or in a file that is encrypted whole; the password is in `pw`."""
    path = inventory(tmp / "prod")
    (tmp / "pw").write_text("word\n")
    (path / "group_vars/all").mkdir(parents=True)
    file, secret = path / "group_vars/all/vault.yml", "canary-of-the-vault"
    option = ["--vault-password-file", str(tmp / "pw")]
    if whole:
        file.write_text(f"hf_token: {secret}\n")
        assert run(["ansible-vault", "encrypt", *option, str(file)]).returncode == 0
    else:
        file.write_text(run(["ansible-vault", "encrypt_string", *option, "--name", "hf_token", secret]).stdout)
    return path


def vault_missing(tmp: Path, whole: bool) -> Generator[Attempt, SteelyardError, None]:
    path, given = vaulted(tmp, whole), list[Path]()
    error = yield lambda: read_fleet(path, *given)
    assert "--vault-password-file" in error.remedy
    given.append(tmp / "pw")


@mends(errors.VaultPasswordMissing)
def vault_value(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    yield from vault_missing(tmp, whole=False)


@mends(errors.VaultPasswordMissing)
def vault_file(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    yield from vault_missing(tmp, whole=True)


@mends(errors.VaultPasswordMissing)
def vault_hosts(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    """The list of hosts itself is encrypted: ansible then says only that no parser took it."""
    path, given = vaulted(tmp, whole=True), list[Path]()
    assert (
        run(["ansible-vault", "encrypt", "--vault-password-file", str(tmp / "pw"), str(path / "hosts.yml")]).returncode
        == 0
    )
    yield lambda: read_fleet(path, *given)
    given.append(tmp / "pw")


@mends(errors.VaultPasswordWrong)
def vault_wrong(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    path, given = vaulted(tmp, whole=True), [tmp / "other"]
    given[0].write_text("another\n")
    yield lambda: read_fleet(path, *given)
    given[0] = tmp / "pw"


@mends(errors.VaultPasswordWrong)
def vault_empty(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    path, given = vaulted(tmp, whole=True), [tmp / "empty"]
    given[0].write_text("")
    yield lambda: read_fleet(path, *given)
    given[0] = tmp / "pw"


def of_two_vaults(tmp: Path, other: str) -> Path:
    """An inventory whose variables of all hosts `pw` opens, and whose file `other` the password in `second` opens."""
    path = vaulted(tmp, whole=True)
    (path / "hosts.yml").write_text("all: {children: {gpu: {hosts: {g1: {}}}, other: {hosts: {g2: {}}}}}\n")
    (tmp / "second").write_text("another\n")
    file = path / other
    file.parent.mkdir(exist_ok=True)
    option = ["--vault-password-file", str(tmp / "second")]
    if "host_vars" in other:
        file.write_text(run(["ansible-vault", "encrypt_string", *option, "--name", "hf_token", "opened-2"]).stdout)
    else:
        file.write_text("rack: opened-by-the-second\n")
        assert run(["ansible-vault", "encrypt", *option, str(file)]).returncode == 0
    return path


def second_vault(tmp: Path, other: str) -> Generator[Attempt, SteelyardError, None]:
    path = of_two_vaults(tmp, other)
    identities = list[str]()

    def attempt() -> None:
        from ansible import constants

        with pytest.MonkeyPatch.context() as patched:  # what the variable becomes when ansible is imported
            patched.setattr(constants, "DEFAULT_VAULT_IDENTITY_LIST", identities)
            error = read_fleet(path, tmp / "pw").hosts[0].error
        if error is not None:
            raise error

    error = yield attempt
    assert "ANSIBLE_VAULT_IDENTITY_LIST=ID@FILE,ID@FILE" in error.remedy
    identities.append(f"second@{tmp / 'second'}")


@mends(errors.VaultValueClosed)
def vault_value_closed(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    yield from second_vault(tmp, "host_vars/g1.yml")


@mends(errors.HostVariablesClosed)
def host_variables_closed(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    yield from second_vault(tmp, "group_vars/gpu.yml")


@mends(errors.VaultPasswordNeeded)
def vault_needed(tmp: Path) -> Generator[Attempt, SteelyardError, None]:
    from steelyard.cli.dify.group import secrets

    path, given = inventory(tmp / "prod"), {}
    error = yield lambda: secrets(inventory=[path], vault_password_file=given.get("file"))
    assert "--vault-password-file" in error.remedy
    given["file"] = tmp / "pw"
    given["file"].write_text("word\n")
