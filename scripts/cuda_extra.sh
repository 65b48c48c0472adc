#!/bin/sh
# Print the JAX extra that suits this machine's NVIDIA driver and cards: cuda12, cuda13, or cpu; why goes to stderr.
#
# SVHN_TUI_CUDA=cuda12|cuda13|cpu decides instead. CUDA 12 is taken wherever driver 525 or newer is: it has code for all
# cards from Pascal to Hopper, and TensorFlow can share it. Cards of compute capability 10 and 11 need CUDA 13.
# nvidia-smi may be absent (containers), hang, or fail because one card of eight is lost: what it printed counts, line by
# line, and other signs of a driver do too. SVHN_TUI_ROOT is put before the paths that are looked at, for tests.
set -u
ROOT=${SVHN_TUI_ROOT-}
WSL=$ROOT/usr/lib/wsl/lib

case ${SVHN_TUI_CUDA-} in
    '' | auto) ;;
    cuda12 | cuda13 | cpu) echo "$SVHN_TUI_CUDA"; exit 0 ;;
    none) echo cpu; exit 0 ;;
    *) echo "SVHN_TUI_CUDA=$SVHN_TUI_CUDA is unknown: cuda12, cuda13 or cpu, or auto." >&2; exit 2 ;;
esac

on_cpu() { [ $# -eq 0 ] || echo "$1 JAX is installed for the CPU." >&2; echo cpu; exit 0; }

[ "$(uname -s)" = Linux ] || on_cpu

# Run a program for 20 seconds at most and print what it said; fail where it took longer. One that hangs in its driver
# cannot even be killed, so its end is not waited for.
limited() {
    notes=$(mktemp -d) || return 1
    {
        if command -v timeout > /dev/null 2>&1; then timeout -k 5 20 "$@"; else "$@"; fi
        echo $? > "$notes/status"
    } > "$notes/said" 2> /dev/null < /dev/null &
    looks=0
    until [ -s "$notes/status" ] || [ "$looks" -ge 260 ]; do sleep 0.1; looks=$((looks + 1)); done
    status=$(cat "$notes/status" 2> /dev/null || echo 124)
    cat "$notes/said"
    rm -rf "$notes"
    [ "$status" -ne 124 ] && [ "$status" -ne 137 ]
}

# Lines such as "580.82.07, 9.0", of whichever cards answer.
asked() {
    smi=$(command -v nvidia-smi 2> /dev/null) || smi=$WSL/nvidia-smi
    [ -x "$smi" ] || return 0
    for fields in driver_version,compute_cap driver_version; do
        told=$(limited "$smi" --query-gpu=$fields --format=csv,noheader) || return 0
        lines=$(echo "$told" | tr -d '\r' | grep -E '^ *[0-9]+\.[0-9.]+ *(,|$)')
        [ -z "$lines" ] || { echo "$lines"; return 0; }
    done
}

has_libcuda() {
    { ldconfig -p 2> /dev/null || /sbin/ldconfig -p 2> /dev/null; } | grep -q 'libcuda\.so\.1' && [ -z "$ROOT" ] && return 0
    for folder in "$WSL" "$ROOT/usr/lib/x86_64-linux-gnu" "$ROOT/usr/lib64" "$ROOT/usr/local/nvidia/lib64" \
        $(echo "${LD_LIBRARY_PATH-}" | tr ':' ' '); do
        [ ! -e "$folder/libcuda.so.1" ] || return 0
    done
    return 1
}

seen=$(asked)
driver=$(echo "$seen" | awk -F'[.,]' 'NF { print $1 + 0; exit }')
if [ -z "$driver" ] && [ -r "$ROOT/proc/driver/nvidia/version" ]; then
    driver=$(sed -n 's/^NVRM version:.* \([0-9][0-9]*\)\.[0-9][0-9.]* .*/\1/p' "$ROOT/proc/driver/nvidia/version" | head -n 1)
fi
if [ -z "$driver" ]; then
    if has_libcuda || { [ -e "$ROOT/dev/dxg" ] && [ -d "$WSL" ]; }; then
        echo "There is an NVIDIA driver that does not tell its version; JAX is installed for CUDA 12." >&2
        echo cuda12
        exit 0
    fi
    on_cpu
fi

# The newest and the oldest compute capability, as 90 for 9.0; 0 where it is not told.
newest=$(echo "$seen" | awk -F', *' '{ split($2, c, "."); v = c[1] * 10 + c[2]; if (v > high) high = v } END { print high + 0 }')
oldest=$(echo "$seen" | awk -F', *' '{ split($2, c, "."); v = c[1] * 10 + c[2]; if (v && (!low || v < low)) low = v } END { print low + 0 }')

[ "$driver" -ge 525 ] || on_cpu "NVIDIA's driver $driver is too old for JAX, which needs 525;"
if [ "$newest" -ge 100 ] && [ "$newest" -lt 120 ]; then
    if [ "$driver" -lt 580 ]; then
        on_cpu "A card here needs CUDA 13, and that NVIDIA's driver 580 or newer instead of $driver;"
    fi
    [ "$oldest" -ge 75 ] || echo "Cards of compute capability below 7.5 cannot be used beside one that needs CUDA 13." >&2
    echo cuda13
elif [ "$newest" -ne 0 ] && [ "$newest" -lt 52 ]; then
    on_cpu "The cards here are too old for JAX, which needs compute capability 5.2;"
else
    echo cuda12
fi
