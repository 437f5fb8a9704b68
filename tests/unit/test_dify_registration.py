"""What Dify shall have, made of models.yml: a wrong declaration is told with its file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr

from steelyard.dify.desired_state import DesiredModel
from steelyard.dify.form import Form, FormField
from steelyard.errors import DifyFieldWrong, SettingWrong
from steelyard.inventory.ansible import read_ansible
from steelyard.roles.dify.registration import wanted_models
from steelyard.roles.dify.settings import Settings
from steelyard.roles.gateway.settings import Settings as GatewaySettings
from steelyard.site.resolve import site_of

MODELS = """\
models:
  llm/one:
    source: file:///srv/one
    version: v1
    alias: one
    dify:
      default: true
      credentials:
        mdoe: chat
  llm/two:
    source: file:///srv/two
    version: v1
    alias: two
    dify:
      {more}
"""


def declared(folder: Path, more: str = "label: Two", credential: str = "steelyard") -> tuple[DesiredModel, ...]:
    (folder / "group_vars").mkdir()
    (folder / "hosts.yml").write_text("all:\n  hosts:\n    g1: {ansible_host: 10.0.0.1}\n")
    (folder / "group_vars/all.yml").write_text(MODELS.format(more=more))
    access = {"url": "http://dify", "email": "ops@example.org", "password": SecretStr("passw0rd")}
    dify = Settings(**access, endpoint="http://gw/v1", credential=credential)
    return wanted_models(site_of(read_ansible(folder)), dify, GatewaySettings())


def test_a_field_that_the_form_does_not_have_is_told_with_its_line(tmp_path: Path) -> None:
    one = declared(tmp_path)[0]
    names = (
        "display_name",
        "endpoint_url",
        "endpoint_model_name",
        "api_key",
        "context_size",
        "mode",
        "max_tokens_to_sample",
        "stream_mode_delimiter",
    )
    form = Form(tuple(FormField(name, False, False, None, (), ()) for name in names))
    with pytest.raises(DifyFieldWrong, match="did you mean `mode`") as told:
        form.check(one, one.fields)
    assert told.value.where == f"{tmp_path}/group_vars/all.yml:9"


@pytest.mark.parametrize(
    ("more", "credential", "found"),
    [
        ("default: true", "steelyard", "one and two"),
        ("further: {a: {endpoint: 'http://b/v1', key: none}}", "steelyard", "none"),
        ("further: {of-twenty-letters-x: {endpoint: 'http://b/v1'}}", "too-long-with", "of-twenty-letters-x"),
    ],
)
def test_a_declaration_that_cannot_be_carried_out_is_told_with_its_line(
    tmp_path: Path, more: str, credential: str, found: str
) -> None:
    with pytest.raises(SettingWrong) as told:
        declared(tmp_path, more, credential)
    assert (told.value.where, told.value.found) == (f"{tmp_path}/group_vars/all.yml:15", found)
