#!/bin/sh
# Compiles a package of `edgegen package --target coreml` on a Mac, into the folder that Apple's Swift
# package calls Resources:  ./assemble.sh PACKAGE RESOURCES
# It needs Xcode, or its command line tools. Nothing is left behind where it fails.
set -eu

if [ $# -ne 2 ]; then
    echo "usage: $0 PACKAGE RESOURCES" >&2
    exit 2
fi
package=$1
resources=$2
if [ ! -f "$package/edgegen.json" ]; then
    echo "$package has no edgegen.json: give the folder that 'edgegen package' made." >&2
    exit 2
fi
if [ ! -f "$package/scheduler/scheduler_config.json" ]; then
    echo "$package has no scheduler/scheduler_config.json: copy the package again." >&2
    exit 2
fi
if ! xcrun --find coremlcompiler >/dev/null 2>&1; then
    echo "xcrun finds no coremlcompiler: install Xcode, and run it once." >&2
    exit 3
fi
if [ -e "$resources" ]; then
    echo "$resources exists: remove it, or name another folder." >&2
    exit 2
fi

work="$resources.$$"
trap 'rm -rf "$work"' EXIT INT TERM
mkdir -p "$work"
for model in "$package"/*/*.mlpackage; do
    echo "compiling $(basename "$model")"
    xcrun coremlcompiler compile "$model" "$work" >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        exit 4
    }
done
rm -f "$work/log"
for file in vocab.json merges.txt; do
    if [ -f "$package/tokenizer/$file" ]; then
        cp "$package/tokenizer/$file" "$work/$file"
    elif [ -f "$package/tokenizer_2/$file" ]; then
        cp "$package/tokenizer_2/$file" "$work/$file"
    fi
done
cp "$package/edgegen.json" "$work/edgegen.json"
cp "$package/scheduler/scheduler_config.json" "$work/scheduler_config.json"
# Who passes the model on, passes its licence on: these travel in the app.
for file in "$package"/*; do
    case $(basename "$file" | tr '[:upper:]' '[:lower:]') in
        licence* | license* | notice* | copying* | copyright* | model_card.md)
            mkdir -p "$work/licences"
            cp "$file" "$work/licences/"
            ;;
    esac
done
mv "$work" "$resources"
trap - EXIT INT TERM
echo "$resources is ready: add it to the app as a folder reference."
