"""Inventories in the shapes that public projects have, everything personal replaced: file to text, each. `PASSWORD`
opens what `VAULTED` encrypts.
"""

# ruff: noqa: E501
from __future__ import annotations

import json

PASSWORD = "open sesame"
VAULTED = "vault:"  # before a text: its file is encrypted whole
EXECUTABLE = "#!"  # a text that begins so is a program
# path below the shape's folder to text; the inventory is `inventory`, or `inventory/`, and others that begin so are the
# layers above it, by name
Shape = dict[str, str]

SCRIPT = """#!/usr/bin/env python3
import json
print(json.dumps(%s))
"""


def ini(text: str, **files: str) -> Shape:
    """An INI file, with variables beside it by path, `/` written as `__` and dots left out."""
    return {"inventory": text, **{path.replace("__", "/") + ".yml": said for path, said in files.items()}}


def folder(**files: str) -> Shape:
    """A folder of YAML sources and variables."""
    return {f"inventory/{path.replace('__', '/')}.yml": said for path, said in files.items()}


HOSTS = "all: {children: {gpu: {hosts: {g1: , g2: }}, cpu: {hosts: {c1: }}}}\n"

SHAPES: dict[str, Shape] = {
    "kubernetes-ini": ini(
        "[all]\nnode1 ansible_host=192.0.2.1 ip=10.3.0.1 etcd_member_name=etcd1\nnode2 ansible_host=192.0.2.2 ip=10.3.0.2\n"
        "[kube_control_plane]\nnode1\n[etcd:children]\nkube_control_plane\n[kube_node]\nnode[1:2]\n"
        "[calico_rr]\n[k8s_cluster:children]\nkube_control_plane\nkube_node\ncalico_rr\n",
        group_vars__all="etcd_data_dir: /var/lib/etcd\nbin_dir: /usr/local/bin\nloadbalancer_apiserver_port: 6443\n"
        'loadbalancer_apiserver_healthcheck_port: "{{ loadbalancer_apiserver_port + 1638 }}"\nno_proxy: "{{ groups.all | '
        "map('extract', hostvars, 'ip') | join(',') }}\"\n",
    ),
    "kubernetes-folder": folder(
        hosts="all:\n  vars: {cluster: a}\n  children:\n    masters: {hosts: {m1: {ip: 10.0.0.1}}}\n"
        "    workers: {hosts: {w1: {ip: 10.0.0.2}, w2: {ip: 10.0.0.3}}}\n    k8s: {children: {masters: , workers: }}\n",
        group_vars__k8s__net="pods: 10.233.64.0/18\nservice: \"{{ pods | replace('64', '0') }}\"\n",
        group_vars__k8s__addons="helm_enabled: false\nmetrics: {enabled: '{{ helm_enabled }}', port: 4443}\n",
        group_vars__masters="endpoint: 'https://{{ ip }}:6443'\n",
    ),
    "openstack-ini": ini(
        "[control]\ncontrol0[1:3]\n[network:children]\ncontrol\n[compute]\ncompute[01:12:5] neutron_external_interface=eth1\n"
        "[deployment]\nlocalhost ansible_connection=local\n[baremetal:children]\ncontrol\nnetwork\ncompute\n[tls]\n",
        group_vars__all="vip: 192.0.2.254\nvip_url: \"http://{{ vip }}:{{ ports.api }}\"\nports: {api: 5000, admin: '{{ ports_admin }}'}\n"
        'ports_admin: "{{ 35357 | int }}"\n',
    ),
    "ceph-ini": ini(
        "[mons]\nmon-a monitor_address=192.0.2.11\nmon-b monitor_address=192.0.2.12\n[osds]\nosd-[a:c]\n[mgrs:children]\nmons\n"
        "[osds:vars]\ndevices=['/dev/sdb', '/dev/sdc']\nosd_auto_discovery=False\njournal_size=5120\nfsid='0b1c2d3e'\n",
        group_vars__mons="initial: \"{{ groups['mons'] | join(',') }}\"\n",
    ),
    "gpu-cluster": folder(
        hosts=HOSTS,
        group_vars__all='slurm_version: 23.02.4\nslurm_src: "https://example.invalid/slurm-{{ slurm_version }}.tar.bz2"\n'
        "nfs_mounts:\n  - {mountpoint: /home, server: \"{{ groups['cpu'] | first }}\", path: /export}\nversion_number: 580.10\n",
        group_vars__gpu='driver: "580"\ngpus: 8\nmemory: "{{ gpus * 80 }}"\n',
        host_vars__g2="gpus: 4\n",
    ),
    "ini-typing": ini(
        "[g]\na i=7 f=1.50 t=True y=yes n=None s='7' l=\"[1, 'b']\" d=\"{'k': 1}\" z=007 e= h=0x10 m=\"a=b c\"\n"
        "[g:vars]\nq='580.10'\nr=580.10\nu=http://x:80/#frag\nw=\"{{ i + 1 }}\"\nv=[1, 2]\nb=false\n"
    ),
    "ini-comments-and-users": ini(
        '# first\n; second\nuser@h1:2222 note="# no comment"\nh2:2200 a=1 # comment\n[g]\nh1.example.invalid\n[g:vars]\nx = spaced value\n'
    ),
    "group-priority-inline": folder(
        hosts="all:\n  children:\n    a: {hosts: {h1: }, vars: {ansible_group_priority: 10, who: a, only_a: 1}}\n"
        "    b: {hosts: {h1: }, vars: {who: b}}\n    c: {hosts: {h1: }, vars: {who: c}}\n"
    ),
    "group-priority-in-files": folder(
        hosts="all: {children: {a: {hosts: {h1: }}, b: {hosts: {h1: }}}}\n",
        group_vars__a="ansible_group_priority: 10\nwho: a\n",
        group_vars__b="who: b\n",
    ),
    "depth-beats-name": folder(
        hosts="all: {children: {z: {children: {a: {hosts: {h1: }}}}, m: {hosts: {h1: }}}}\n",
        group_vars__z="who: z\nz: 1\n",
        group_vars__a="who: a\n",
        group_vars__m="who: m\n",
    ),
    "all-beats-inline": folder(
        hosts="all: {vars: {w: inline-all}, children: {gpu: {hosts: {h1: {own: 1}}, vars: {w: inline-gpu}}}}\n",
        group_vars__all="w: file-all\nown: 2\n",
        host_vars__h1="own: 3\n",
    ),
    "folder-hides-file": {
        "inventory/hosts.yml": "all: {hosts: {h1: }}\n",
        "inventory/group_vars/all/a.yml": "x: folder\n",
        "inventory/group_vars/all/z.json": '{"y": "json", "n": 1e3}',
        "inventory/group_vars/all.yml": "x: file\ny: file\n",
    },
    "several-sources": {
        "inventory/01-hosts.ini": "[web]\nw1 port=80\n[db]\nd1\n",
        "inventory/02-more.yml": "web: {hosts: {w2: {port: 81}}, vars: {scheme: http}}\nprod: {children: {web: , db: }}\n",
        "inventory/group_vars/prod.yml": "url: '{{ scheme | default(\"tcp\") }}://{{ inventory_hostname }}:{{ port | default(0) }}'\n",
        "inventory/README.md": "nothing\n",
    },
    "layers-of-groups": {
        "inventory/hosts.yml": "all: {vars: {w: base}, children: {gpu: {hosts: {g1: {own: 1}, g2: }}, rack: {hosts: {g2: }}}}\n",
        "inventory/group_vars/all.yml": "who: base all\nport: 8000\n",
        "inventory/group_vars/gpu.yml": "who: base gpu\nonly_base: '{{ port + 1 }}'\n",
        "inventory/host_vars/g1.yml": "own: 2\nkept: base\n",
        "inventory-2/hosts.yml": "all: {vars: {w: prod}, children: {gpu: {hosts: {g3: {own: 3}}}, rack: {hosts: {g1: {own: 4}}}}}\n",
        "inventory-2/group_vars/all.yml": "who: prod all\nport: 9000\n",
        "inventory-2/group_vars/rack.yml": "who: prod rack\n",
        "inventory-2/host_vars/g1.yml": "own: 5\n",
    },
    "layers-and-priority": {
        "inventory/hosts.yml": "all: {children: {a: {hosts: {h1: }, vars: {ansible_group_priority: 9, who: a}}, b: {hosts: {h1: }}}}\n",
        "inventory-2": "[b:vars]\nwho=b\n[c]\nh1 n=1\nh2 n=2\n[c:vars]\nansible_group_priority=5\nwho=c\n",
    },
    "layers-of-three": {
        "inventory": "h1 x=1 y=1 z=1\n[g]\nh1\n",
        "group_vars/g.yml": "beside: '{{ x }}{{ y }}{{ z }}'\n",
        "inventory-2/hosts.yml": "g: {hosts: {h1: {y: 2, z: 2}}}\n",
        "inventory-2/group_vars/g.yml": "beside: 'second {{ y }}'\nsecond: true\n",
        "inventory-3.yml": "all: {hosts: {h1: {z: 3}}}\n",
    },
    "layers-variables-only": {
        "inventory/hosts.yml": "all: {children: {gpu: {hosts: {g1: , g2: }}}}\n",
        "inventory/group_vars/gpu.yml": "who: base\n",
        "inventory-2/group_vars/gpu.yml": "who: '{{ inventory_hostname }} of prod'\n",
        "inventory-2/host_vars/g2.yml": "alone: 1\n",
    },
    "layers-with-a-program": {
        "inventory": SCRIPT
        % json.dumps(
            {
                "web": {"hosts": ["w1", "w2"], "vars": {"a": "{{ b }}"}},
                "_meta": {"hostvars": {"w1": {"b": 1}, "w2": {"b": 2}}},
            }
        ),
        "inventory-2/hosts.yml": "web: {hosts: {w2: {b: 3}}, vars: {c: '{{ a }}'}}\n",
    },
    "layers-that-construct": {
        "inventory/hosts.yml": "all: {hosts: {h1: {rack: 1}, h2: {rack: 2}}}\n",
        "inventory-2.yml": "plugin: ansible.builtin.constructed\nstrict: true\ncompose: {port: 8000 + rack}\n"
        "groups: {odd: rack is odd}\nkeyed_groups: [{key: rack | string, prefix: r}]\n",
        "inventory-3/group_vars/odd.yml": "who: odd\n",
    },
    "sub-folders": {
        "inventory/hosts.yml": "all: {hosts: {h1: }}\n",
        "inventory/site-a/hosts.yml": "a: {hosts: {h2: }}\n",
        "inventory/site-a/group_vars/a.yml": "never: read\n",
        "inventory/group_vars/a.yml": "site: a\n",
    },
    "constructed": {
        "inventory/hosts.yml": "all: {hosts: {web-1: {zone: b, size: 4}, db-1: {zone: c, size: 16}}}\n",
        "inventory/z.constructed.yml": "plugin: constructed\nstrict: true\ncompose:\n  memory: size * 1024\n"
        "  label: \"zone ~ '-' ~ inventory_hostname\"\n  looks: \"'{{ ' ~ 'size }}'\"\n"
        "groups:\n  big: size > 8\nkeyed_groups:\n  - {key: zone, prefix: zone}\n",
        "inventory/group_vars/zone_b.yml": "near: true\nwhere: '{{ label }}'\n",
    },
    "script": {
        "inventory": SCRIPT
        % repr(
            {
                "gpu": {"hosts": ["g1"], "vars": {"rack": 1, "t": "{{ rack + 1 }}"}},
                "top": {"children": ["gpu"], "vars": {"deep": {"list": [1, "{{ rack }}", None]}}},
                "_meta": {"hostvars": {"g1": {"ansible_host": "192.0.2.9", "where": "{{ ansible_host }}/{{ t }}"}}},
            }
        )
    },
    "script-in-a-folder": {
        "inventory/10-static.yml": "all: {hosts: {s1: {k: 1}}}\n",
        "inventory/20-cloud.py": SCRIPT
        % repr({"cloud": {"hosts": ["v1"]}, "_meta": {"hostvars": {"v1": {"k": "{{ 1 + 1 }}"}}}}),
        "inventory/group_vars/cloud.yml": "image: 'img-{{ k }}'\n",
    },
    "ranges": ini(
        "[r]\nn[001:003]\nx[a:c].example.invalid\n[even]\nn[002:003]\n[r:vars]\nhost='{{ inventory_hostname_short }}'\n"
    ),
    "json-source": {
        "inventory": json.dumps({"all": {"hosts": {"j1": {"a": [1, 2.5, None, True], "b": {"c": "{{ a[0] }}"}}}}})
    },
    "unicode": folder(
        hosts="all: {children: {größe: {hosts: {hôte-1: {名: 值, auch: '{{ 名 }}·'}}}}}\n", group_vars__all="ß: é\n"
    ),
    "yaml-anchors": folder(
        hosts="all:\n  vars:\n    base: &base {retries: 3, url: 'http://{{ inventory_hostname }}/'}\n    other: *base\n"
        "    merged: {<<: *base, retries: 5}\n  hosts: {h1: }\n"
    ),
    "yaml-scalars": folder(
        hosts="all: {hosts: {h1: }}\n",
        group_vars__all="a: 0o17\nb: 1_000\nc: ~\nd: 'yes'\ne: yes\nf: 1e3\ng: .5\nh: |\n  two\n  lines\ni: >\n  one\n  line\n"
        "j: 0b101\nk: '{{ h }}'\nl: \"{{ c }}\"\nm: []\nn: {}\non: 1\n",
    ),
    "unsafe": folder(
        hosts="all: {hosts: {h1: }}\n",
        group_vars__all="raw: !unsafe '{{ nothing }}'\nuses: '{{ raw }}'\nmade: \"{{ '{{ ' ~ 'raw }}' }}\"\nlist: [!unsafe '{% x %}', 1]\n",
    ),
    "native-types": folder(
        hosts="all: {hosts: {h1: }}\n",
        group_vars__all="i: '{{ 8000 + 1 }}'\ns: '{{ 8001 }} '\nf: '{{ 1 / 4 }}'\nb: '{{ 1 == 1 }}'\nl: '{{ [1] + [2] }}'\n"
        "d: \"{{ {'a': i} }}\"\nn: '{{ none }}'\no: {kept: 1, left: '{{ omit }}'}\nq: [1, '{{ omit }}', '{{ i }}']\n"
        "t: '{{ (1, 2) }}'\nstr: '{{ \"7\" }}'\nz: \"{{ '07' | int }}\"\n",
    ),
    "filters": folder(
        hosts="all: {hosts: {h1: , h2: }}\n",
        group_vars__all="j: \"{{ {'b': 1, 'a': [2]} | to_json }}\"\ny: \"{{ [1, 'x'] | to_nice_yaml }}\"\nc: \"{{ {'a': {'x': 1}} | "
        "combine({'a': {'y': 2}}, recursive=true) }}\"\nr: \"{{ 'abc' | regex_replace('b', 'X') }}\"\nh: \"{{ 'x' | hash('sha256') }}\"\n"
        "t: \"{{ true | ternary('on', 'off') }}\"\ndef: \"{{ nope | default('d') }}\"\nm: \"{{ ['a', 'b'] | map('upper') | list }}\"\n"
        "s: \"{{ [{'n': 2}, {'n': 1}] | sort(attribute='n') }}\"\nu: \"{{ [1, 1, 2] | unique }}\"\nd2: \"{{ {'k': 1} | dict2items }}\"\n"
        "b: \"{{ 'text' | b64encode | b64decode }}\"\nz: \"{{ ['a', 'b'] | zip([1, 2]) | list }}\"\nurl: \"{{ 'http://u@h:1/p' | urlsplit('port') }}\"\n",
    ),
    "lookups": folder(
        hosts="all: {hosts: {h1: }}\n",
        group_vars__all="e: \"{{ lookup('env', 'NO_SUCH_VARIABLE') }}\"\nv: \"{{ lookup('vars', 'e', default='x') }}\"\n"
        "q: \"{{ query('sequence', 'start=1 end=3') }}\"\nd: \"{{ lookup('dict', {'a': 1}) }}\"\np: \"{{ lookup('pipe', 'echo 1 2') }}\"\n",
    ),
    "whole-names": folder(
        hosts=HOSTS,
        group_vars__all="l: \"{{ lookup('ansible.builtin.dict', {'a': 1}) }}\"\nf: \"{{ {'a': 1} | ansible.builtin.to_json }}\"\n"
        "t: \"{{ 'abc' is ansible.builtin.match('ab') }}\"\n",
        more="plugin: ansible.builtin.constructed\nstrict: true\ngroups: {first: inventory_hostname is ansible.builtin.match('.1')}\n",
        group_vars__first="place: 1\n",
    ),
    "control-structures": folder(
        hosts="all: {children: {a: {hosts: {h1: , h2: }}}}\n",
        group_vars__all="peers: |-\n  {% for h in groups['a'] if h != inventory_hostname %}\n  {{ h }}\n  {% endfor %}\n"
        "role: \"{% if inventory_hostname == groups['a'][0] %}first{% else %}other{% endif %}\"\nc: '{# gone #}kept'\n"
        "raw: '{% raw %}{{ kept }}{% endraw %}'\n",
    ),
    "hostvars": folder(
        hosts="all: {hosts: {h1: {ip: 10.0.0.1, mine: '{{ ip }}!'}, h2: {ip: 10.0.0.2, mine: '{{ ip }}?'}}}\n",
        group_vars__all="others: \"{{ groups.all | map('extract', hostvars, 'mine') | list }}\"\nfirst: '{{ hostvars[groups.all[0]].mine }}'\n",
    ),
    "chains": folder(
        hosts="all: {hosts: {h1: }}\n",
        group_vars__all="a: '{{ b }}'\nb: '{{ c.d }}'\nc: {d: '{{ e[1] }}'}\ne: [0, '{{ f | int }}']\nf: '41'\ng: '{{ c }}'\n",
    ),
    "templates-in-connections": folder(
        hosts="all:\n  vars: {domain: example.invalid, ansible_user: \"{{ admin | default('ops') }}\"}\n  hosts:\n"
        "    h1: {ansible_host: '{{ inventory_hostname }}.{{ domain }}', ansible_port: '{{ 2200 + 2 }}'}\n    h2: {admin: root}\n"
    ),
    "vault-whole-file": {
        **folder(
            hosts=HOSTS,
            group_vars__all__main="key: '{{ vault_key }}'\nport: '{{ vault_port + 1 }}'\nall: '{{ vault_all }}'\n",
        ),
        "inventory/group_vars/all/vault.yml": VAULTED
        + "vault_key: s3cr3t-of-file\nvault_port: 8442\nvault_all: {a: [1, 'two']}\n",
    },
    "vault-in-host-vars": {
        **folder(hosts=HOSTS, group_vars__gpu="token: 'Bearer {{ vault_token }}'\nvault_token: of-the-group\n"),
        "inventory/host_vars/g2.yml": VAULTED + "vault_token: of-the-host\nn: 7\n",
    },
    "localhost-and-aliases": ini(
        "localhost ansible_connection=local\njump ansible_host=192.0.2.1 ansible_port=2222 ansible_ssh_common_args='-o ProxyJump=none'\n"
        "[app]\njump\n[app:vars]\nansible_become=true\nansible_become_user=app\n"
    ),
    "foreign-names": folder(
        hosts="all: {hosts: {h1: }}\n",
        group_vars__all="gateway: 10.4.0.1\ndocker: {users: ['{{ who }}']}\nwho: ops\nmodels: []\nsteelyard_gateway: {port: '{{ 8080 + 1 }}'}\n",
    ),
    "foreign-files": {
        "inventory/hosts.yml": "all: {hosts: {h1: {a: 1}}}\n",
        "inventory/artifacts/admin.conf": "apiVersion: v1\nkind: Config\n",
        "inventory/requirements.yml": "roles:\n  - src: a\n",
        "inventory/group_vars/all.yml": "b: '{{ a }}'\n",
    },
    "empty-places": {
        "inventory/hosts.yml": "all: {children: {a: {hosts: {h1: }}, empty: {hosts: {}}, nothing: }}\n",
        "inventory/group_vars/empty.yml": "x: 1\n",
        "inventory/group_vars/a.yml": "---\n",
        "inventory/host_vars/h1.yml": "# only a comment\n",
    },
}
