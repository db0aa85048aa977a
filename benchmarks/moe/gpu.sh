#!/usr/bin/env bash
# Everything that one accelerator machine can say about MoGE, in one run of up to a quarter of an hour: the model's tests there, then the bench.
#
#   bash benchmarks/moe/gpu.sh FOLDER
#
# Leaves in FOLDER: tests.txt (the model's tests on the device), device/ (layer of published size in bfloat16), ranks/ (gloo ranks on the
# machine's CPU cores), quality/ (the ablation, trained on the CPU cores while the tests run). Needs no installation: the sources are run
# where they lie. DEVICE=cpu SIZE=tiny tries it out.
set -uo pipefail
out=$(realpath -m "${1:?where to?}")
cd "$(dirname "$0")/../.."
mkdir -p "$out"
export PYTHONPATH=src PYTHONUNBUFFERED=1
python=${PYTHON:-python3} device=${DEVICE:-cuda} size=${SIZE:-published}
bench() { timeout "${limit:-400}" "$python" -c 'from begat_lab.cli import main; main()' bench-moe "$@"; }

training=(--size small --parts quality --seeds 8 --steps 800)
[[ $size == published ]] || training=(--size "$size" --parts quality)
limit=400 bench "${training[@]}" -o "$out/quality" >"$out/quality.log" 2>&1 &
quality=$!
BEGAT_LAB_DEVICE=$device timeout 150 "$python" -m pytest -q -p no:cacheprovider tests/lab/moge/test_device.py 2>&1 | tee "$out/tests.txt"
tests=$?
wait "$quality"
quality=$?
bench --device "$device" --dtype bfloat16 --size "$size" --parts kernels,layers,models,parallel -o "$out/device"
on_device=$?
[[ $size == published ]] && size=small
bench --size "$size" --parts load,parallel -o "$out/ranks"
ranks=$?
rm -f "$out/ranks/rows_per_rank.svg"
cat "$out/quality.log" && rm "$out/quality.log"
echo "exit codes: tests $tests, quality $quality, device $on_device, ranks $ranks; $SECONDS s"
exit $((tests || quality || on_device || ranks))
