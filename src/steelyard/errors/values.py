"""Failures of single values of an inventory: templates that cannot be evaluated, and vaults that do not open."""

from __future__ import annotations

from .base import SteelyardError


class VariableUndefined(SteelyardError):
    """A template asks for a variable that this host does not have."""

    sentence = "`{key}` cannot be resolved: {why}"
    fix = "define it for these hosts, or write the value of `{key}` itself; text that only looks so as `!unsafe`"
    sample = {"where": "roles.yml:12", "key": "gateway.clients.dify", "why": "'vault_dify_key' is undefined"}
    key: str
    why: str


class TemplateWrong(SteelyardError):
    """A template that ansible-core cannot evaluate."""

    sentence = "the template in `{key}` does not work: {why}"
    fix = "mend the template of `{key}`; text that only looks so is written as `!unsafe`"
    sample = {
        "where": "roles.yml:12",
        "key": "vllm.api_key",
        "why": "Syntax error in template: expected token 'end of print statement', got 'b'",
    }
    key: str
    why: str


class TemplateRecursive(SteelyardError):
    """Templates that ask for each other."""

    sentence = "the template in `{key}` asks, in the end, for itself"
    fix = "write the value of `{key}`, or of a variable that it asks for, itself"
    sample = {"where": "roles.yml:12", "key": "vllm.api_key"}
    key: str


class LookupFailed(SteelyardError):
    """A lookup of a template found nothing: a file, a program, an address."""

    sentence = "`{key}` cannot be looked up: {why}"
    fix = "mend what is looked up, or write the value of `{key}` itself"
    sample = {
        "where": "roles.yml:12",
        "key": "hf_token",
        "why": "The lookup plugin 'file' failed: Unable to access the file '/etc/token'",
    }
    key: str
    why: str


class VaultValueClosed(SteelyardError):
    """A value, or one that it is made of, is encrypted with another password than those that are given."""

    sentence = "`{key}` is in a vault that none of the given passwords opens"
    fix = (
        "give its password too: `ANSIBLE_VAULT_IDENTITY_LIST=ID@FILE,ID@FILE`, or `vault_identity_list` in "
        "ansible.cfg; or encrypt it with the password that you pass"
    )
    sample = {"where": "group_vars/rack2/vault.yml:1", "key": "vllm.api_key"}
    key: str


class HostVariablesClosed(SteelyardError):
    """A file of a host's variables cannot be read: it is encrypted with another password, or not this user's to
    read.
    """

    sentence = "the variables of host `{host}` cannot be read: {why}"
    fix = (
        "make the file readable for this user, or give its vault password too: "
        "`ANSIBLE_VAULT_IDENTITY_LIST=ID@FILE,ID@FILE`"
    )
    sample = {
        "where": "inventories/prod",
        "host": "gpu-3",
        "why": "Decryption failed (no vault secrets were found that could decrypt)",
    }
    host: str
    why: str


class VaultPasswordMissing(SteelyardError):
    """There are encrypted values and no password was given."""

    sentence = "the inventory holds vault values and no vault password was given"
    fix = (
        "put the password into `.vault-password` in the inventory, which is found by itself, or pass "
        "`--vault-password-file FILE`,"
        " or set ANSIBLE_VAULT_PASSWORD_FILE"
    )
    sample = {"where": "inventories/prod"}


class VaultPasswordWrong(SteelyardError):
    """The password does not open the vault values."""

    sentence = "the vault password in `{given}` does not open the vault values"
    fix = "pass the right file with `--vault-password-file`"
    sample = {"where": "inventories/prod", "given": "~/.vault-pass"}
    given: str


class VaultPasswordNeeded(SteelyardError):
    """A value is to be encrypted with the inventory's vault, and no password was given."""

    sentence = "what is written here is encrypted, and no vault password was given"
    fix = "pass `--vault-password-file FILE`, or set ANSIBLE_VAULT_PASSWORD_FILE"
    sample = {"where": "inventories/prod/group_vars/dify/dify_secrets.yml"}
