#!/bin/sh
# Double-click on macOS: brings the studio to its newest version.

# One function, read whole before it runs: an update may change this file.
main() {
    here=$(dirname -- "$(readlink -f -- "$0" 2>/dev/null || printf '%s' "$0")")
    "$here/run.command" update
    status=$?
    if [ -t 0 ]; then
        printf 'Press Enter to close this window.'
        read -r _
    fi
    exit $status
}

main "$@"
