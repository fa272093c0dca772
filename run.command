#!/bin/sh
# Double-click on macOS: starts the studio. With arguments it is the same as: python3 run.py
# ARGUMENTS. The entry for Linux desktops, framepack-studio.desktop, calls it too.

# One function, read whole before it runs: an update may change this file.
main() {
    here=$(dirname -- "$(readlink -f -- "$0" 2>/dev/null || printf '%s' "$0")")
    # Python 3.7 can read run.py, which goes on with a newer one or says what is needed.
    probe='import sys; sys.exit(sys.version_info < (3, 7))'
    python=
    for each in python3 python3.12 python3.13 python3.11 python3.14 python; do
        if "$each" -c "$probe" >/dev/null 2>&1; then
            python=$each
            break
        fi
    done
    if [ -z "$python" ]; then
        echo "Found no Python 3; FramePack Studio needs Python 3.11 to 3.14."
        echo "Get it from https://www.python.org/downloads/ or with your package manager, then"
        echo "start this file again."
        [ $# -gt 0 ] || wait_for_enter
        exit 1
    fi
    [ $# -eq 0 ] || exec "$python" "$here/run.py" "$@"
    echo "The studio opens in your browser. To stop it, press Ctrl-C here or close this window."
    trap : INT # it is the server's to stop
    "$python" "$here/run.py" serve --inbrowser --quiet && exit 0
    echo
    echo "The studio has stopped; the lines above say why."
    wait_for_enter
    exit 1
}

wait_for_enter() {
    if [ -t 0 ]; then
        printf 'Press Enter to close this window.'
        read -r _
    fi
}

main "$@"
