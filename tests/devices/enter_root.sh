#!/bin/sh
# enter_root.sh ROOT CPUINFO COMMAND…: runs a command in a root of another machine, with /proc, /dev
# and that machine's /proc/cpuinfo. To be started in a mount namespace of its own (unshare --mount):
# the mounts go with the last process in it. EDGEGEN_STANDIN_BOOT_ID is a file that plays the boot id.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
root=$1 cpuinfo=$2
shift 2
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind "$cpuinfo" "$root/proc/cpuinfo"
if [ -n "${EDGEGEN_STANDIN_BOOT_ID:-}" ]; then
    mount --bind "$EDGEGEN_STANDIN_BOOT_ID" "$root/proc/sys/kernel/random/boot_id"
fi
exec chroot "$root" "$@"
