# lib.sh - what the scripts beside it share. Sourced from the top folder of the repository.

builds=${HAWSER_BUILDS:-build} # the folder of the build trees; a second run at once needs its own
luas="5.1 5.2 5.3 5.4 jit"

# The first comment of a script is its help.
usage()
{
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "scripts/${0##*/}"
    exit "${1:-0}"
}

die()
{
    echo "${0##*/}: $*" >&2
    exit 1
}

# Functions in parentheses run in a shell of their own, so that their variables stay theirs.

# Runs a command, and shows what it printed only if it failed.
quietly()
(
    mkdir -p "$builds"
    log=$(mktemp "$builds/log.XXXXXX")
    trap 'rm -f "$log"' EXIT
    "$@" >"$log" 2>&1 && exit
    status=$?
    cat "$log" >&2
    exit $status
)

cores()
{
    getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1
}

# What a CMake that is started from here should use. To be called when scripts/setup is through.
choose_build_tools()
{
    if [ -z "${CMAKE_GENERATOR:-}" ] && command -v ninja >/dev/null; then
        export CMAKE_GENERATOR=Ninja
    fi
    if command -v ccache >/dev/null; then
        export CMAKE_C_COMPILER_LAUNCHER=ccache
    fi
}

# configure PRESET [CMAKE ARGUMENTS] - the presets of CMakePresets.json, spelt out because those
# need CMake 3.21.
configure()
(
    preset=$1
    shift
    case $preset in
    dev)
        set -- -DCMAKE_BUILD_TYPE=Debug -DHAWSER_SANITIZE=address,undefined \
            -DHAWSER_WERROR=ON -DHAWSER_TESTS=ON "$@"
        ;;
    openssl) # dev with the other engine under TLS
        set -- -DCMAKE_BUILD_TYPE=Debug -DHAWSER_SANITIZE=address,undefined \
            -DHAWSER_WERROR=ON -DHAWSER_TESTS=ON -DHAWSER_LUA=5.4 -DHAWSER_TLS=openssl "$@"
        ;;
    release)
        set -- -DCMAKE_BUILD_TYPE=RelWithDebInfo -DHAWSER_LTO=ON -DHAWSER_BENCH=ON "$@"
        ;;
    fuzz)
        set -- -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_COMPILER=clang -DHAWSER_FUZZ=ON \
            -DHAWSER_SANITIZE=fuzzer-no-link,address,undefined -DHAWSER_LUA=none "$@"
        ;;
    lint) # no preset: only its compile_commands.json is wanted
        set -- -DCMAKE_BUILD_TYPE=Debug -DHAWSER_LUA=5.4 "$@"
        ;;
    esac
    choose_build_tools
    cmake -S . -B "$builds/$preset" "$@"
)

# build PRESET [TARGET...]
build()
(
    preset=$1
    shift
    mkdir -p "$builds"
    if command -v flock >/dev/null; then # two suites may run side by side
        exec 9>"$builds/$preset.lock"
        flock 9
    fi
    quietly configure "$preset" || exit # each time: a Lua may have been installed since
    jobs=${CMAKE_BUILD_PARALLEL_LEVEL:-$(cores)}
    quietly cmake --build "$builds/$preset" --parallel "$jobs" ${1:+--target "$@"}
)

# check NAME COMMAND... - one line for a check that went well; what it printed and FAIL otherwise,
# and `failed` is set.
failed=0
check()
{
    check_name=$1
    shift
    if output=$("$@" 2>&1); then
        echo "ok   $check_name"
    else
        echo "$output"
        echo "FAIL $check_name"
        failed=1
    fi
}

# within SECONDS COMMAND... - so that what hangs is a failure and no end of the run.
within()
{
    if command -v timeout >/dev/null; then
        timeout --foreground -k 5 "$@"
    else
        shift
        "$@"
    fi
}

# lua_command VERSION - the name of its interpreter here.
lua_command()
(
    [ "$1" != jit ] || set -- "jit" "luajit"
    for name in ${2:-"lua$1" "lua$(echo "$1" | tr -d .)" lua}; do
        command -v "$name" >/dev/null || continue
        case $1:$("$name" -e 'print(_VERSION)') in
        jit:* | "$1:Lua $1") echo "$name" && exit ;;
        esac
    done
    die "no interpreter of Lua $1 found"
)

PATH=$PATH:/usr/sbin:/sbin # where Debian keeps nginx

case $builds in
/*) ;;
*) builds=$PWD/$builds ;;
esac
