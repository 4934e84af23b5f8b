#!/usr/bin/env bash
# Checks docker-compose.yml: its schema, that what it mounts exists, that every image has a version.
# Exit code: 0 fine, 1 not, 2 no compose is here.
set -euo pipefail
cd "$(dirname "$0")"
file=docker-compose.yml

if docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
elif command -v docker-compose >/dev/null; then
    compose=(docker-compose)
else
    echo "neither docker compose nor docker-compose is here (Debian: apt-get install docker-compose)" >&2
    exit 2
fi
"${compose[@]}" -f "$file" config >/dev/null

faults=0
fault() {
    echo "$file: $*" >&2
    faults=1
}
while read -r path; do
    [ -e "$path" ] || fault "mounts $path, which is not there"
done < <(sed -nE 's/^ +- (\.\.[^:]*):.*/\1/p' "$file")
while read -r image; do
    [[ $image =~ :v?[0-9]+\.[0-9]+\.[0-9]+$ ]] || fault "$image has no version"
done < <(sed -nE 's/^ +image: //p' "$file")
[ "$faults" = 0 ] || exit 1
echo "compose file checked"
