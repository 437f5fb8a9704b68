"""What is imported only when called still does what pyinfra asks of it."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import io, sys
from steelyard.engine import gevent_patch
import pyinfra.api.util as util
from pyinfra.api.config import check_pyinfra_version
assert not {"jinja2", "packaging"} & set(sys.modules)
print(util.get_template(io.StringIO("{{ a }}")).render(a=1))
try: util.get_template(io.StringIO("{{ b }}")).render()
except Exception as error: print(type(error).__name__)
check_pyinfra_version(">=3")
try: check_pyinfra_version("<3")
except Exception as error: print(type(error).__name__)
import jinja2, packaging.version
print(jinja2.Template("x").render(), packaging.version.Version("1.0"))
"""


def test_templates_and_version_checks_of_pyinfra_work_and_load_their_libraries_then() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    assert done.stdout.split() == ["1", "UndefinedError", "PyinfraError", "x", "1.0"], done.stderr
