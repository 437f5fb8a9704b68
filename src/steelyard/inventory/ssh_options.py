"""The options of ssh_config, each with what a connection of ours makes of it: it holds, it means nothing here, or it is
refused.

ssh's own list is `ssh -G HOST`; a test holds this table against it. Names are lower case, as ssh prints them.
"""

from __future__ import annotations

from enum import Enum


class Treatment(Enum):
    """The treatment of a variable or an option: never nothing without a word."""

    HONOURED = "honoured"
    IRRELEVANT = "means nothing here"
    REFUSED = "refused"


HONOURED = frozenset(
    [
        "addressfamily",
        "bindaddress",
        "canonicaldomains",
        "canonicalizefallbacklocal",
        "canonicalizehostname",
        "canonicalizemaxdots",
        "canonicalizepermittedcnames",
        "certificatefile",
        "ciphers",
        "connectionattempts",
        "connecttimeout",
        "globalknownhostsfile",
        "hostkeyalgorithms",
        "hostkeyalias",
        "hostname",
        "identitiesonly",
        "identityagent",
        "identityfile",
        "kbdinteractiveauthentication",
        "kexalgorithms",
        "macs",
        "passwordauthentication",
        "port",
        "preferredauthentications",
        "proxycommand",
        "proxyjump",
        "pubkeyacceptedalgorithms",
        "pubkeyauthentication",
        "stricthostkeychecking",
        "user",
        "userknownhostsfile",
    ]
)
# what only ssh itself can work out: its own answer is asked for
SSH_DECIDES = frozenset(
    ["canonicalizehostname", "canonicaldomains", "canonicalizemaxdots", "canonicalizepermittedcnames"]
)
MANY = frozenset(["identityfile", "certificatefile"])  # each adds to the list; of all others the first holds
SYNONYMS = {
    "challengeresponseauthentication": "kbdinteractiveauthentication",
    "dsaauthentication": "pubkeyauthentication",
    "hostbasedkeytypes": "hostbasedacceptedalgorithms",
    "identityfile2": "identityfile",
    "keepalive": "tcpkeepalive",
    "pubkeyacceptedkeytypes": "pubkeyacceptedalgorithms",
    "skeyauthentication": "kbdinteractiveauthentication",
    "smartcarddevice": "pkcs11provider",
    "tisauthentication": "kbdinteractiveauthentication",
}
_KEPT_OPEN = "one connection is kept open for the run"
_NO_TERMINAL = "no terminal and nobody at it"
_STRICTER = "host keys are believed by known_hosts alone"
_OTHER_LOGIN = "keys and passwords are offered, no other login"
_DROPPED = "ssh itself passes over it"
IRRELEVANT = {
    "addkeystoagent": "no agent is changed",
    "batchmode": "nobody is asked",
    "casignaturealgorithms": _STRICTER,
    "channeltimeout": _KEPT_OPEN,
    "checkhostip": _STRICTER,
    "cipher": _DROPPED,
    "clearallforwardings": "nothing is forwarded",
    "compression": "the answers are the same",
    "compressionlevel": _DROPPED,
    "controlmaster": _KEPT_OPEN,
    "controlpath": _KEPT_OPEN,
    "controlpersist": _KEPT_OPEN,
    "dynamicforward": "a port on this machine that nothing here uses",
    "enableescapecommandline": _NO_TERMINAL,
    "enablesshkeysign": _OTHER_LOGIN,
    "escapechar": _NO_TERMINAL,
    "exitonforwardfailure": "nothing is forwarded",
    "fallbacktorsh": _DROPPED,
    "fingerprinthash": "how keys are shown",
    "forwardagent": "nothing on a host asks an agent",
    "forwardx11": _NO_TERMINAL,
    "forwardx11timeout": _NO_TERMINAL,
    "forwardx11trusted": _NO_TERMINAL,
    "gatewayports": "nothing is forwarded",
    "globalknownhostsfile2": _DROPPED,
    "gssapiauthentication": _OTHER_LOGIN,
    "gssapiclientidentity": _OTHER_LOGIN,
    "gssapidelegatecredentials": _OTHER_LOGIN,
    "gssapikexalgorithms": _OTHER_LOGIN,
    "gssapikeyexchange": _OTHER_LOGIN,
    "gssapirenewalforcesrekey": _OTHER_LOGIN,
    "gssapiserveridentity": _OTHER_LOGIN,
    "gssapitrustdns": _OTHER_LOGIN,
    "hashknownhosts": "how keys are written down",
    "host": "the name that was asked for",
    "hostbasedacceptedalgorithms": _OTHER_LOGIN,
    "hostbasedauthentication": _OTHER_LOGIN,
    "ignoreunknown": "ssh reads its files itself",
    "ipqos": "no answer depends on it",
    "localcommand": "no command is run on this machine",
    "localforward": "a port on this machine that nothing here uses",
    "loglevel": "how much ssh says",
    "logverbose": "how much ssh says",
    "nohostauthenticationforlocalhost": _STRICTER,
    "numberofpasswordprompts": "a password is tried once",
    "obscurekeystroketiming": _NO_TERMINAL,
    "permitlocalcommand": "no command is run on this machine",
    "permitremoteopen": "nothing is forwarded",
    "protocol": _DROPPED,
    "proxyusefdpass": "a ProxyCommand is talked with over its standard input and output",
    "rekeylimit": "keys are renewed by the library's own count",
    "refuseconnection": "ssh itself says so",
    "requesttty": "commands run without a terminal",
    "requiredrsasize": "the library's own floor holds",
    "rhostsrsaauthentication": _DROPPED,
    "rsaauthentication": _DROPPED,
    "securitykeyprovider": "such keys are used through an agent",
    "sendenv": "commands run in the host's own environment",
    "serveralivecountmax": "`steelyard_link_timeout_s` says when a link is cut",
    "serveraliveinterval": "`steelyard_link_timeout_s` says when a link is cut",
    "setenv": "commands run in the host's own environment",
    "streamlocalbindmask": "nothing is forwarded",
    "streamlocalbindunlink": "nothing is forwarded",
    "syslogfacility": "how much ssh says",
    "tag": "ssh reads its files itself",
    "tcpkeepalive": "`steelyard_link_timeout_s` says when a link is cut",
    "tunneldevice": "nothing is forwarded",
    "updatehostkeys": _STRICTER,
    "useprivilegedport": _DROPPED,
    "userknownhostsfile2": _DROPPED,
    "useroaming": _DROPPED,
    "usersh": _DROPPED,
    "verifyhostkeydns": _STRICTER,
    "versionaddendum": "how ssh names itself",
    "visualhostkey": "how keys are shown",
    "warnweakcrypto": "how much ssh says",
    "xauthlocation": _NO_TERMINAL,
}
# name: (values that ask for nothing, why the others cannot be had)
REFUSED = {
    "bindinterface": ((), "the library binds to an address only; use `BindAddress`"),
    "forkafterauthentication": (("no",), "a connection has to stay"),
    "knownhostscommand": (("none",), "known keys are read from files only; write them into one"),
    "pkcs11provider": (("none",), "the library cannot ask a smart card; load its key into an agent"),
    "remotecommand": (("none",), "the session is needed for commands of this run"),
    "remoteforward": ((), "no port of a host is forwarded to here"),
    "revokedhostkeys": (("none",), "revoked keys are known by `@revoked` lines of known_hosts only"),
    "sessiontype": (("default",), "the session is needed for commands of this run"),
    "stdinnull": (("no",), "commands are sent over standard input"),
    "tunnel": (("no", "false"), "no network device is forwarded"),
}


def treatment_of(option: str, value: str) -> tuple[Treatment, str]:
    """Return what becomes of an option with this value, and why. Raises LookupError where ssh knows no such option."""
    if option in HONOURED:
        return Treatment.HONOURED, ""
    if option in IRRELEVANT:
        return Treatment.IRRELEVANT, IRRELEVANT[option]
    harmless, why = REFUSED[option]
    return (Treatment.IRRELEVANT, "it asks for nothing") if value.lower() in harmless else (Treatment.REFUSED, why)
