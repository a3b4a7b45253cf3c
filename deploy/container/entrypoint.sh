#!/bin/sh
# Entry point of the images: `eigenserve COMMAND ARGUMENTS` takes the kernels that were compiled for this CPU's level at
# the image's build and becomes `python -m eigenserve COMMAND ARGUMENTS`. Without arguments it prints the level.
set -eu
kernels=${EIGENSERVE_KERNELS:-/opt/kernels}

# The levels of the x86-64 psABI; each is what LLVM compiles for under that name.
level() {
    [ "$(uname -m)" = x86_64 ] || { echo generic; return; }
    have=" $(sed -n '/^flags/{s/.*: //p;q;}' "${CPUINFO:-/proc/cpuinfo}") "
    found=
    while read -r name flags; do
        for flag in $flags; do
            case $have in *" $flag "*) ;; *) echo "$found"; return ;; esac
        done
        found=$name
    done <<END
x86-64-v2 cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3
x86-64-v3 abm avx avx2 bmi1 bmi2 f16c fma movbe xsave
x86-64-v4 avx512bw avx512cd avx512dq avx512f avx512vl
END
    echo "$found"
}

found=$(level)
[ $# -gt 0 ] || { echo "$found"; exit; }

# What is compiled later is written next to what was found: all that is writable in a read-only container is a tmpfs.
for scratch in "${TMPDIR:-/tmp}" /dev/shm; do
    [ ! -w "$scratch" ] || break
done
[ -w "$scratch" ] || { echo "error: a writable /tmp is needed, such as --tmpfs /tmp" >&2; exit 2; }
# A container that starts again may find its tmpfs as it left it: folders of processes that have ended go. This process'
# number is the server's, too; who has had it before is gone.
for old in "$scratch"/eigenserve-kernels.*; do
    pid=${old#"$scratch"/eigenserve-kernels.}
    pid=${pid%.*}
    [ "$pid" != $$ ] && kill -0 "$pid" 2>/dev/null || rm -rf "$old" 2>/dev/null || :
done
NUMBA_CACHE_DIR=$(mktemp -d "$scratch/eigenserve-kernels.$$.XXXXXX")
export TMPDIR="$scratch" NUMBA_CACHE_DIR
if [ -n "$found" ] && [ -d "$kernels/$found" ]; then
    cp -R "$kernels/$found/." "$NUMBA_CACHE_DIR"
    export NUMBA_CPU_NAME="$found" NUMBA_CPU_FEATURES=
else
    echo "note: no kernels for this CPU (${found:-older than x86-64-v2}) in $kernels; they are compiled now" >&2
fi
exec python -m eigenserve "$@"
