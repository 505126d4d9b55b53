#!/bin/sh
# broker FOLDER PORT DISTRIBUTION_PORT EPMD_PORT
#
# Runs the program `broker` of the system in the folder `root` next to this script, with the same arguments: see broker.sh.
# It runs as root. The mounts are in a namespace of their own and end with the broker.
set -eu
if [ $# -ne 4 ]; then
    echo "usage: $0 FOLDER PORT DISTRIBUTION_PORT EPMD_PORT" >&2
    exit 2
fi
root=$(cd "$(dirname "$0")" && pwd)/root
mkdir -p "$1"
folder=$(cd "$1" && pwd)
shift
export root folder
# Each program replaces the one before, so that the process that was started becomes the broker.
exec unshare --mount sh -c '
    mount --rbind /proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount --bind "$folder" "$root/srv"
    exec chroot "$root" /usr/local/bin/broker /srv "$@"
' sh "$@"
