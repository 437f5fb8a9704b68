"""Takes secrets out of what an engine says, by how they are named and how they look: nobody on the host knows which
there are. Pure.
"""

from __future__ import annotations

import re

MASK = "********"
# names whose value is one; `tokenizer`, `max_tokens`, `eos_token` and `ssl_keyfile` are none of them
_NAMED = (
    r"(?:(?:api|access|private|secret|signing|encryption|account|master)[_-]?keys?|"
    r"(?:hf|hub|access|auth|api|bearer|id|refresh|session|security|user|github|gitlab)[_-]?token|(?<![A-Za-z0-9_-])token(?==)|"
    r"(?:password|passwd|passphrase|secret|credential)s?)(?:[_-][\w-]{1,30})?(?![A-Za-z0-9])"
)
_VALUE = r"(?:\[[^\]]{0,400}\]?|'[^']{0,400}'?|\"[^\"]{0,400}\"?|[^\s,;&'\")\]}]+)"
_SECRET = re.compile(_NAMED, re.IGNORECASE)
_LIKELY = re.compile(r"key|token|passw|passphrase|secret|credential|bearer|basic|signature|://|hf_|sk-", re.IGNORECASE)
_RULES = tuple(
    (re.compile(pattern, flags), shown)
    for pattern, flags, shown in (
        # an option that is refused, and why: the why may hold the value
        (r"(argument (?:-\w+/)?--[\w.-]{0,60}?" + _NAMED + r"[^:]{0,60}: ).*", re.IGNORECASE, r"\1" + MASK),
        (r"(" + _NAMED + r" Input should be [^\[]{0,300}\[type=\w{1,60}, input_value=).*", re.IGNORECASE, r"\1" + MASK),
        (r"(?<=Invalid value )" + _VALUE + r"( for \w{0,60}?" + _NAMED + r")", re.IGNORECASE, "'" + MASK + r"'\1"),
        # NAME=value, 'NAME': 'value', --NAME value
        (r"(" + _NAMED + r"['\"]?\s?[=:]\s?)" + _VALUE, re.IGNORECASE, r"\1" + MASK),
        (r"(--[\w.-]{0,60}?" + _NAMED + r" )(?!-)" + _VALUE, re.IGNORECASE, r"\1" + MASK),
        (
            r"([?&][\w.-]{0,40}(?:token|key|secret|signature|sig|credential|password)[\w.-]{0,20}=)[^&\s'\"]+",
            re.IGNORECASE,
            r"\1" + MASK,
        ),
        (r"(://)[^/\s:@'\"]{0,200}:[^/\s@'\"]{1,400}@", 0, r"\1" + MASK + "@"),
        (r"\b(Bearer|Basic) +[\w.~+/=-]{8,}", re.IGNORECASE, r"\1 " + MASK),
        (r"\b(?:hf_|sk-)[A-Za-z0-9_-]{16,}", 0, MASK),
    )
)


def is_secret(name: str) -> bool:
    """Whether a setting of this name has a value that is never shown."""
    return _SECRET.search(name) is not None or name.upper().endswith(("TOKEN", "_KEY"))


def hide(text: str) -> str:
    """The text, each value that is a secret by its name or its look as `MASK`."""
    if not _LIKELY.search(text):
        return text
    for pattern, shown in _RULES:
        text = pattern.sub(shown, text)
    return text
