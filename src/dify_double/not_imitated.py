"""Table of what the double does not imitate: path in an answer (fnmatch) to what is there instead.

Of a path that is named here a replay compares only whether a null, a number, a text, an object or a list is there.
"""

from __future__ import annotations

LEFT_OUT = ("*.help", "*.placeholder")  # of these not even the kind of value is the same
NOT_IMITATED = {
    "*.help": "help texts of forms and rules are left out",
    "*.placeholder": "placeholders of forms are left out",
    "*.manifest.icon": "a picture's name; the daemon names it by its checksum",
    "*.declaration.icon": "a picture's name; the daemon names it by its checksum",
    "*.plugins.*.icon": "a picture's name; the daemon names it by its checksum",
    "*credential_form_schemas*.label*": "labels of forms are the names of their fields",
    "*.model_credential_schema.model.label.*": "the label of a form's model is the English one",
    "*.manifest.description.*": "descriptions are in English, and short",
    "*.declaration.description.*": "descriptions are in English, and short",
    ".data.*.description.*": "descriptions are in English, and short",
    "*_at": "the double's own clock",
    "*latency": "made up",
    "*.elapsed_time": "made up",
    "*.time_to_*": "made up",
    ".records.*.score": "of the vectors that the endpoint gives, so of the endpoint; a reranker's is handed on",
    ".pid": "always 1",
    ".enable_creators_platform": "always true; it depends on the server's settings",
    "*.manifest.model": "the provider's form is not repeated in a plugin's manifest",
    "*.declaration.model": "the provider's form is not repeated in a plugin's declaration",
    "*.manifest.resource": "resources of a plugin are left out",
    "*.declaration.resource": "resources of a plugin are left out",
    "message:network": "the text of a failed connection begins like Dify's and then says what Python's client says",
    "message:route": "a known route's refusal ends without guesses at a route: they depend on the letters of ids",
    "message:schema": "where no refusal of a body was recorded, the name of its schema is a guess",
    "message:request": "the number of a request in a failure's words is made up",
    "roles": "who is logged in may do what an administrator may, but for knowledge bases, which have permissions",
    "routes": "routes that are not named in the double's table answer 404 as an unknown route does",
    "predefined models": "a provider whose plugin brings models has none of them here",
    "workflows": "start, llm, answer and end nodes are run, one after the other; any other kind breaks",
    "search": "by vectors alone; without an embedding model, by the words of the query",
    "same second": "what was made in one second is listed in an order of its own: the real one's is by chance",
    "before 1.16.1": (
        "tokens in the body (before 1.9.2) and plain passwords (before 1.11.2) as read in the source, not recorded"
    ),
    "session": "the flask session cookie holds no signed content",
}
# paths of the console API that are there in 1.16.1 and of which nothing was recorded: answered 404, as an older release
# without them would
NOT_RECORDED = {
    "/agent": "agents",
    "/agent/*/composer": "agents",
    "/workspaces/current/customized-snippets": "snippets of workflows",
    "/snippets/*": "snippets of workflows",
    "/rag/pipelines/*": "pipelines of knowledge bases",
}
