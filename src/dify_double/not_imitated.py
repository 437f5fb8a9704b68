"""Table of what the double does not imitate: path in an answer (fnmatch) to what is there instead."""

from __future__ import annotations

NOT_IMITATED = {
    "*icon*": "names a picture that does not exist; the double serves no pictures",
    "*.help*": "help texts of forms and rules are left out",
    "*.placeholder*": "placeholders of forms are left out",
    "*.label.*": "labels are the English ones in every language",
    "*.description*": "descriptions are the English ones",
    "*_at": "the double's own clock",
    "*.last_login_ip": "always 127.0.0.1",
    "*.tenant_id": "an id of its own",
    "*.id": "an id of its own",
    "*.checksum": "of the name, not of a package",
    "*unique_identifier*": "with that checksum",
    "*.manifest.model*": "the provider's form is not repeated in a plugin's manifest",
    "*.declaration.model*": "the provider's form is not repeated in a plugin's declaration",
    "*.meta.version": "of one plugin's manifest",
    "*.manifest.resource*": "resources of a plugin are left out",
    "*.declaration.resource*": "resources of a plugin are left out",
    "*.model_credential_schema.credential_form_schemas.*": "forms have variable, type, required, default, options and "
    "show_on; other keys are empty",
    "*background": "colours are left out",
    "message:network": "the text of a failed connection begins like Dify's and then says what Python's client says",
    "message:route": "an unknown route is told without Dify's guesses",
    "message:schema": "a body of the wrong shape is told without pydantic's words",
    "apps and knowledge": (
        "/apps, /datasets and the service API /v1 are not recorded: written as the documentation and the web console "
        "use them; a knowledge base finds every document that it has"
    ),
    "before 1.16.1": (
        "tokens in the body (before 1.9.2) and plain passwords (before 1.11.2) as read in the source, not recorded"
    ),
    "session": "the flask session cookie holds no signed content",
}
