"""The answers to a login, told apart: a wrong password, a locked account, and what says nothing about either."""

from __future__ import annotations

from steelyard.errors import DifyAccountLocked, DifyLoginRefused, DifyUnreachable, SteelyardError

from .http import HttpResponse, code_of, message_of

# Dify's words for a password that it counts as wrong; those of releases before 1.9 came with 400
WRONG = ("authentication_failed", "email_or_password_mismatch", "email_password_mismatch", "account_not_found")


def is_wrong_password(answer: HttpResponse) -> bool:
    """Whether Dify refused this e-mail and password, and counts the try. A proxy's 401 has no code of Dify's."""
    return answer.status in (400, 401) and code_of(answer.body) in WRONG


def login_error(answer: HttpResponse, where: str, email: str) -> SteelyardError | None:
    """The error of a login's answer; None where it was taken."""
    if answer.status == 200:
        return None
    why, code = message_of(answer.body), code_of(answer.body)
    if answer.status == 429 and code:
        return DifyAccountLocked(where=where, email=email, why=why)
    if answer.status in (400, 401, 403) and code:
        return DifyLoginRefused(where=where, email=email, why=why)
    return DifyUnreachable(where=where, why=f"a login is answered with {answer.status}: {why}")
