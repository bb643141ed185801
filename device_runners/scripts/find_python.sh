# Starts the Python of a device: HOME NAMES ARGUMENT...
#
# It writes the line `shell` first: so much of the way works. The first Python that is new enough is
# taken, a bundle's before the device's own; without one a line follows, `none SYSTEM MACHINE
# VERSION...`, with the versions that are too old, and the exit code is 127.
echo shell
home=$1 names=$2
shift 2
old=
try() {
    version=$("$@" -E -c 'import platform; print(platform.python_version())' 2>/dev/null </dev/null)
    case $version in
        3.9.* | 3.[1-9][0-9].*) return 0 ;;
        [0-9]*.[0-9]*.[0-9]*) old="$old $version" ;;
    esac
    return 1
}
case $home in "~/"*) home=$HOME/${home#"~/"} ;; esac
if [ -f "$home/runtime/bundle.json" ] && try sh "$home/runtime/python"; then
    shift # -I: a bundle's own folders are found by PYTHONHOME and PYTHONPATH, which it sets itself
    exec sh "$home/runtime/python" "$@"
fi
for name in $names; do
    command -v "$name" >/dev/null 2>&1 && try "$name" && exec "$name" "$@"
done
echo "none $(uname -s) $(uname -m)$old"
exit 127
