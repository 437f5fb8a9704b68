#!/usr/bin/env bash
# torch 2.13.0: ATEN_CPU_CAPABILITY does not hide instructions from torch.cpu.
#
# The variable limits which kernels ATen dispatches to, and `torch.backends.cpu.get_cpu_capability()` follows it. What
# `torch.cpu.get_capabilities()` and the helpers around it answer is read from the processor and does not. Software that
# chooses its own kernels by the latter (vLLM's CPU attention does, for AMX) therefore cannot be moved to a smaller
# instruction set by that variable, and a run under it is no rehearsal for an older machine.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy<3"
cat >"$work/look.py" <<'PYTHON'
import torch

print(torch.__version__.split("+")[0], torch.backends.cpu.get_cpu_capability(), torch.cpu.get_capabilities()["avx2"])
PYTHON
grep -qw avx2 /proc/cpuinfo || { echo "not run: this processor has no AVX2"; exit 0; }
plain=$("$work/venv/bin/python" "$work/look.py")
limited=$(ATEN_CPU_CAPABILITY=default "$work/venv/bin/python" "$work/look.py")
echo "plain:                        $plain"
echo "ATEN_CPU_CAPABILITY=default:  $limited"
case "$plain" in "2.13.0 AVX"*" True") ;; *) echo "changed: without the variable"; exit 1 ;; esac
test "$limited" = "2.13.0 DEFAULT True" || { echo "changed: with the variable"; exit 1; }
# seen, on a processor with AVX-512:
# plain:                        2.13.0 AVX512 True
# ATEN_CPU_CAPABILITY=default:  2.13.0 DEFAULT True
