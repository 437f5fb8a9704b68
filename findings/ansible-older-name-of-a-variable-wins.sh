#!/usr/bin/env bash
# ansible-core 2.19.14: of two names of one connection variable the older one wins: ansible_ssh_port beats ansible_port, whoever says it.
#
# The names of an option are a list in the plugin's documentation (`ansible-doc -t connection ssh`), and the last one that is set holds. It
# is not the precedence of variables: `ansible_ssh_port` of the group `all` beats `ansible_port` of the host itself. A tool that takes
# `ansible_port` first, as most do, connects elsewhere than Ansible.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "ansible-core==2.19.14"
printf '#!/bin/sh\necho "$@" >"$0.said"\nexit 255\n' >ssh
chmod +x ssh
cat >hosts.yml <<YAML
all:
  vars: {ansible_ssh_port: 2201, ansible_ssh_host: 192.0.2.1, ansible_ssh_user: older, ansible_ssh_executable: "$work/ssh"}
  hosts:
    one: {ansible_port: 2202, ansible_host: 192.0.2.2, ansible_user: newer}
YAML
venv/bin/ansible one -i hosts.yml -m raw -a true >log 2>&1 || true
asked=$(grep -o 'Port=[0-9]*\|User="[a-z]*"\|192\.0\.2\.[0-9]' ssh.said | sort -u | tr '\n' ' ')
echo "ssh was asked for: $asked"
test "$asked" = '192.0.2.1 Port=2201 User="older" ' || { echo "changed"; exit 1; }
