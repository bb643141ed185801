# Takes a bundle: HOME FOLDER SIZE SHA256 MODULES
#
# The archive goes on where it was, and is checked by its hash. `runtime` points to a bundle only
# after that could import what it brings; one that is there and cannot is replaced. `read` takes one
# line, byte by byte as POSIX has it, so that `head` gets all that follows.
set -e
home=$1 folder=$2 size=$3 sha256=$4 modules=$5
case $home in "~/"*) home=$HOME/${home#"~/"} ;; esac
mkdir -p "$home/runtimes"
if command -v flock >/dev/null 2>&1; then
    exec 9>>"$home/lock"
    flock -n 9 || { echo busy; exit 0; }
fi
cd "$home/runtimes"
printf '#!%s\nexit 0\n' "$(command -v sh)" > .try
chmod 755 .try
# 126: it may not be run. Any other code says that no path of a shell is known (busybox: "sh").
./.try 2>/dev/null || [ $? -ne 126 ] || { rm -f .try; echo noexec; exit 0; }
ln -s .try .try.link 2>/dev/null || { rm -f .try; echo nolinks; exit 0; }
rm -f .try .try.link
works() {
    said=$(sh "$folder/python" -c "import $modules" 2>&1 </dev/null)
}
if [ -f "$folder/bundle.json" ] && ! works; then
    rm -rf "$folder"
fi
if [ ! -f "$folder/bundle.json" ]; then
    for left in .*.tar .*.part; do
        [ "$left" = ".$folder.tar" ] || rm -rf "$left"
    done
    have=0
    [ -f ".$folder.tar" ] && have=$(wc -c < ".$folder.tar")
    [ "$have" -gt "$size" ] && have=0
    set -- $(df -Pk . | tail -n 1)
    echo need $have $4
    read -r answer
    [ "$answer" = go ] || exit 0
    [ "$have" -gt 0 ] || : > ".$folder.tar"
    head -c $((size - have)) >> ".$folder.tar"
    [ "$(wc -c < ".$folder.tar")" -eq "$size" ] || exit 3 # the connection broke: what came stays
    set -- $(sha256sum < ".$folder.tar")
    if [ "$1" != "$sha256" ]; then
        rm -f ".$folder.tar"
        echo mismatch
        exit 0
    fi
    rm -rf ".$folder.part" "$folder"
    mkdir ".$folder.part"
    tar -xf ".$folder.tar" -C ".$folder.part"
    mv ".$folder.part/$folder" "$folder"
    rm -rf ".$folder.part" ".$folder.tar"
    if ! works; then
        rm -rf "$folder"
        echo broken "$(printf '%s\n' "$said" | tail -n 1)"
        exit 0
    fi
fi
cd ..
rm -f .runtime.new
ln -s "runtimes/$folder" .runtime.new
mv -T .runtime.new runtime 2>/dev/null || { rm -f runtime; mv .runtime.new runtime; }
echo ready
