#!/usr/bin/env bash
# ansible-core 2.19.14: what a vault encrypts value by value stays encrypted in `ansible-inventory --list`; what it encrypts as a whole file
# is printed in the clear, and carries no mark of the vault.
#
# With the password at hand both are readable, so a tool that reads variables through ansible-core's Python has to tell a secret by its tag:
# a `!vault` value is an EncryptedString. A value of a file that `ansible-vault encrypt` made has only its place (Origin); whether that file
# is encrypted has to be looked up. A tool that masks what is tagged prints the passwords of everybody who encrypts files.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "ansible-core==2.19.14"
mkdir -p site/group_vars/all
echo 'open sesame' >password
echo 'all: {hosts: {one: }}' >site/hosts.yml
venv/bin/ansible-vault encrypt_string --vault-password-file password --name alone canary-alone >site/group_vars/all/a.yml 2>/dev/null
echo 'whole: canary-whole' >site/group_vars/all/b.yml
venv/bin/ansible-vault encrypt --vault-password-file password site/group_vars/all/b.yml 2>/dev/null
listed=$(venv/bin/ansible-inventory -i site --list --vault-password-file password)
cat >tags.py <<'PYTHON'
from pathlib import Path

from ansible._internal._datatag._tags import Origin, VaultedValue
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultSecret, VaultSecretsContext
from ansible.vars.manager import VariableManager

secrets = [("default", VaultSecret(Path("password").read_bytes().strip()))]
VaultSecretsContext.initialize(VaultSecretsContext(secrets=secrets))
loader = DataLoader()
loader.set_vault_secrets(secrets)
inventory = InventoryManager(loader, sources=["site"])
variables = VariableManager(loader, inventory).get_vars(host=inventory.get_host("one"))
for name in ("alone", "whole"):
    value = variables[name]
    origin = Origin.get_tag(value)
    place = Path(origin.path).name if origin and origin.path else "nowhere"
    print(name, type(value).__name__, VaultedValue.is_tagged_on(value), place)
PYTHON
tags=$(venv/bin/python tags.py)
echo "printed in the clear: $(grep -o 'canary-[a-z]*' <<<"$listed" | tr '\n' ' ')"
echo "$tags"
test "$(grep -o 'canary-[a-z]*' <<<"$listed")" = canary-whole || { echo "changed: what is printed"; exit 1; }
grep -q '^alone EncryptedString' <<<"$tags" || { echo "changed: the tag of a value alone"; exit 1; }
grep -q '^whole _AnsibleTaggedStr False b.yml$' <<<"$tags" || { echo "changed: the tag of a file's value"; exit 1; }
