#!/usr/bin/env bash
# On a GPU, in less than eight minutes: bash benchmarks/gpu.sh [DEVICE]
#
# The tests of the reference models, and then homework 1 graded with and without the GPU in the process sandbox: the
# points have to be equal, and the report says how the GPU computed. The second part needs the extra `grade`.
# Needs torch and pytest. What else a test needs and is not here is skipped with its name; pytest-xdist, where it is
# here, spreads the tests over the cores. Prints counts, failures and what was skipped; $OUT/gpu.log has it all.
# Left out: the tables over every callable, which lie on the CPU, and programs that are started from a command line.
set -uo pipefail
cd "$(dirname "$0")/.."
device=${1:-cuda}
seconds=${SECONDS_AT_MOST:-270}
homework_seconds=${HOMEWORK_SECONDS_AT_MOST:-165}
python=${PYTHON:-python3}
log=${OUT:-${TMPDIR:-/tmp}}/gpu.log

export OMP_NUM_THREADS=1 PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
export NVIDIA_TF32_OVERRIDE=0  # float32 is compared with float64, and means float32
export CUBLAS_WORKSPACE_CONFIG=:4096:8

"$python" - "$device" <<'PY'
import sys
import torch
print(f"Python {sys.version.split()[0]}, torch {torch.__version__}, asked for {sys.argv[1]}")
if torch.cuda.is_available():
    print(torch.cuda.get_device_name(0), torch.version.cuda)
PY
for package in scipy sklearn zuko ot torchdiffeq torchmetrics safetensors rich typer matplotlib xdist; do
  "$python" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$package') is None)" ||
    echo "not here: $package"
done

workers=()
if "$python" -c "import xdist" 2>/dev/null; then
  cores=$(env -u OMP_NUM_THREADS nproc)
  workers=(-n "${WORKERS:-$((cores > 12 ? 12 : cores))}" --dist worksteal)
fi
apart=(every_callable test_constructors.py test_main.py test_catalogue.py test_baselines.py test_recipes.py)
timeout --signal INT --kill-after 15 "$seconds" "$python" -m pytest tests/reference_models --device "$device" \
  "${workers[@]}" -p benchmarks.missing -p no:cacheprovider -q --tb short --durations 15 \
  --continue-on-collection-errors "${apart[@]/#/--ignore=tests/reference_models/}" \
  >"$log" 2>&1
code=$?
# the failures in full are long: first what failed and what was skipped, then the count
grep -aE "^(FAILED|ERROR|SKIPPED|[0-9.]+s (call|setup))|^E  |^!!!" "$log" | cut -c1-240 | tail -n 150
tail -n 1 "$log"
[ "$code" -ne 124 ] || echo "ended by the clock after $seconds s: the counts are of what ran until then"

if "$python" -c "import nbgrader, typer, pydantic" 2>/dev/null; then
  timeout --signal INT --kill-after 15 "$homework_seconds" "$python" -m benchmarks.gpu_homework
  graded=$?
  [ "$graded" -ne 124 ] || echo "homework 1 was ended by the clock after $homework_seconds s"
else
  echo "homework 1 is not graded: the extra \`grade\` is not here"
  graded=0
fi
exit $((code ? code : graded))
