#!/usr/bin/env bash
# Everything that one accelerator can say about MoGE, in one run of a few minutes: the model's tests on it, then the bench.
#
#   bash benchmarks/moe/gpu.sh FOLDER
#
# Leaves FOLDER/tests.txt, FOLDER/device/bench_moe.{json,md} (layer of published size, one device), FOLDER/ranks/bench_moe.{json,md}
# (gloo ranks on the machine's CPU cores). Needs no installation: the sources are run where they lie. DEVICE=cpu SIZE=tiny tries it out.
set -uo pipefail
out=$(realpath -m "${1:?where to?}")
cd "$(dirname "$0")/../.."
mkdir -p "$out"
export PYTHONPATH=src PYTHONUNBUFFERED=1
python=${PYTHON:-python3} device=${DEVICE:-cuda} size=${SIZE:-published}
bench() { timeout 200 "$python" -c 'from begat_lab.cli import main; main()' bench-moe "$@"; }
BEGAT_LAB_DEVICE=$device timeout 150 "$python" -m pytest -q -p no:cacheprovider tests/lab/moge/test_device.py 2>&1 | tee "$out/tests.txt"
tests=$?
bench --device "$device" --dtype bfloat16 --size "$size" --parts kernels,layers,models,parallel -o "$out/device"
device_bench=$?
[[ $size == published ]] && size=small
bench --size "$size" --parts load,parallel -o "$out/ranks"
ranks_bench=$?
echo "exit codes: tests $tests, device $device_bench, ranks $ranks_bench; $SECONDS s"
exit $((tests || device_bench || ranks_bench))
