#!/usr/bin/env bash
# Makes the packages and tries them: their contents against contents.txt, lintian, rpmlint; then in a Debian system that is
# made for it and booted in a container, the .deb installed, upgraded, removed and purged, and the .rpm installed and erased.
# Needs root. With CI=true missing tools are installed from Debian.
# UPDATE_CONTENTS=1 writes contents.txt anew. Exit code: 0 fine, 1 not, 2 a tool is missing.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=deploy/packages
name=sockdiag-exporter
port=10061
work=$(mktemp -d)
tree=$work/tree
machine=
leader=

clean() {
    if [ -n "$machine" ]; then
        # SIGKILL ends the container's own init, and all in it; nothing in there is kept.
        kill -KILL $(pgrep --parent "$machine") 2>/dev/null || kill -KILL "$machine" 2>/dev/null || true
        wait "$machine" 2>/dev/null || true
    fi
    rm -rf --one-file-system "$work"
}
trap clean EXIT

die() {
    echo "packages: $*" >&2
    exit 1
}

tools() {
    local pair missing=()
    for pair in lintian=lintian rpm=rpm rpmlint=rpmlint mmdebstrap=mmdebstrap systemd-nspawn=systemd-container \
        dpkg-shlibdeps=dpkg-dev strip=binutils nsenter=util-linux pgrep=procps; do
        command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
    done
    [ ${#missing[@]} = 0 ] && return
    if [ "${CI:-}" != true ]; then
        echo "missing: ${missing[*]} (Debian: apt-get install ${missing[*]})" >&2
        exit 2
    fi
    apt-get update -q >/dev/null
    DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${missing[@]}" >/dev/null
}

# Mode, owner, place; what is a configuration file says so.
contents() {
    local conffiles
    conffiles=$(dpkg-deb --info "$deb" conffiles)
    dpkg-deb --contents "$deb" | while read -r mode owner _ _ _ place; do
        place=/${place#./}
        printf 'deb %s %s %s%s\n' "$mode" "${owner/0\/0/root/root}" "$place" "$(grep -qxF "$place" <<<"$conffiles" && echo ' conffile' || true)"
    done | sort -k4
    rpm --query --package --queryformat '[rpm %{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME} %{FILENAMES} %{FILEFLAGS:fflags}\n]' "$rpm" |
        sed 's/ *$//' | sort -k4
}

check_contents() {
    contents >"$work/contents"
    [ -z "${UPDATE_CONTENTS:-}" ] || cp "$work/contents" "$here/contents.txt"
    diff -u "$here/contents.txt" "$work/contents" || die "other contents than contents.txt: read the difference, then UPDATE_CONTENTS=1"
    echo "contents: $(grep -c ^deb "$work/contents") entries in the .deb, $(grep -c ^rpm "$work/contents") in the .rpm"
}

check_lint() {
    local said
    # Its complaint about root is for packages of others.
    said=$(lintian --allow-root --fail-on error,warning "$deb" 2>&1) || die "lintian: $said"
    [ -z "$said" ] || die "lintian: $said"
    said=$(rpmlint --strict --config "$here/rpmlint.toml" "$rpm" 2>&1) || die "rpmlint: $said"
    grep -q ' 0 errors, 0 warnings' <<<"$said" || die "rpmlint: $said"
    rpm --checksig --nosignature "$rpm" >/dev/null || die "the digests of the .rpm are wrong"
    echo "lint: lintian and rpmlint say nothing"
}

# The same package at the next revision, whose configuration differs: what a later release may be.
next() {
    dpkg-deb --raw-extract "$deb" "$work/next"
    sed -i "s/^Version: .*/&+next/" "$work/next/DEBIAN/control"
    printf '\n# Changed by the next version.\n' >>"$work/next/etc/$name/config.toml"
    dpkg-deb --build --root-owner-group "$work/next" "$work/packages/next.deb" >/dev/null
}

# A command in the container.
inside() {
    nsenter --target "$leader" --mount --uts --ipc --net --pid --cgroup --root --wd=/ \
        env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@" </dev/null
}

boot() {
    local at suite mirror
    suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    # The mirror that apt is set up with here.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $suite" | head -1)
    mmdebstrap --quiet --variant=minbase --include=systemd,systemd-sysv,dbus,curl,rpm "$suite" "$tree" ${mirror:+"$mirror"}
    # A network of its own, of loopback alone: the port is free there whatever runs here.
    systemd-nspawn --quiet --directory="$tree" --boot --private-network --register=no --keep-unit \
        --bind-ro="$work/packages:/packages" --console=pipe >"$work/console" 2>&1 </dev/null &
    machine=$!
    for at in $(seq 60); do
        leader=$(pgrep --parent "$machine" | head -1) || true
        if [ -n "$leader" ] && inside systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded'; then
            echo "booted: Debian $suite, systemd $(inside systemctl --version | sed -n '1s/.*(\(.*\)).*/\1/p')"
            return
        fi
        sleep 1
    done
    tail -20 "$work/console" >&2
    die "the container does not boot"
}

# All that is there, but what changes by itself and what the package managers keep of their own.
files() {
    inside find / -xdev \( -path /proc -o -path /sys -o -path /dev -o -path /run -o -path /tmp -o -path /packages -o -path /var/log \
        -o -path /var/cache -o -path /var/lib/apt -o -path /var/lib/dpkg -o -path /var/lib/rpm -o -path /var/lib/systemd -o -path /var/tmp \
        -o -path /root/.rpmdb -o -path /etc/ld.so.cache \) -prune -o -print | sort
}

# What the package managers do says little; all of it when it fails.
quietly() {
    inside "$@" >"$work/said" 2>&1 || { cat "$work/said" >&2; die "$* failed"; }
}

answers() { # WHAT: the service runs and serves
    local page at state
    for at in $(seq 30); do
        page=$(inside curl -sf "http://127.0.0.1:$port/metrics") && break
        [ "$at" -lt 30 ] || { inside journalctl --unit "$name" --no-pager | tail -20 >&2; die "$1: /metrics does not answer"; }
        sleep 1
    done
    state=$(inside systemctl is-active "$name.service") || die "$1: the service is $state"
    grep -q "^sockdiag_build_info{.*version=\"$version\"" <<<"$page" || die "$1: another version answers"
    grep -q '^sockdiag_sockets{.*state="listen"} [1-9]' <<<"$page" || die "$1: it sees no listener, not even its own"
    pid=$(inside systemctl show --property MainPID --value "$name.service")
    [ "$(inside stat -c %u "/proc/$pid")" -ge 1000 ] || die "$1: it runs as a user that is not dynamic"
    echo "$1: pid $pid, $(grep -c '^sockdiag_' <<<"$page") series"
}

is() { # WANTED WHAT UNIT
    local state
    state=$(inside systemctl "$2" "$3") || true
    [ "$state" = "$1" ] || die "$3 is $state, not $1"
}

nothing_left() { # WHAT
    local left
    files >"$work/after"
    diff "$work/before" "$work/after" >"$work/difference" || { cat "$work/difference" >&2; die "$1: files differ from before"; }
    left=$(inside find / -xdev \( -path /proc -o -path /packages -o -path '/var/log/journal' \) -prune -o -name "*$name*" -print)
    [ -z "$left" ] || die "$1: left are $left"
    ! inside curl -s -o /dev/null "http://127.0.0.1:$port/" || die "$1: something answers still"
    echo "$1: nothing is left of it"
}

try_deb() {
    local first config=/etc/$name/config.toml
    files >"$work/before"
    quietly apt-get install -y "/packages/${deb##*/}"
    answers "installed (deb)"
    is enabled is-enabled "$name.service"
    is disabled is-enabled "$name.socket"
    quietly "$name" check-config --config "$config"
    quietly bash -c "source /usr/share/bash-completion/completions/$name && complete -p $name"
    quietly dpkg --verify "$name"
    first=$pid
    # An administrator's change, in force and then kept.
    inside sed -i 's/^interval = "5s"$/interval = "2s"/' "$config"
    inside grep -q '^interval = "2s"$' "$config" || die "$config has no interval to change"
    quietly apt-get install -y -o Dpkg::Options::=--force-confold /packages/next.deb
    inside dpkg-query --show --showformat '${Version}' "$name" | grep -q '+next$' || die "not upgraded"
    answers "upgraded (deb)"
    [ "$pid" != "$first" ] || die "the upgrade left the old program running"
    inside grep -q '^interval = "2s"$' "$config" || die "the upgrade lost the administrator's change"
    inside grep -q 'Changed by the next' "$config.dpkg-dist" || die "the new configuration is not beside the kept one"
    inside curl -sf "http://127.0.0.1:$port/metrics" | grep -q '^sockdiag_poll_interval_seconds.* 2$' || die "the kept configuration is not in force"
    # What the administrator switched off stays off.
    quietly systemctl disable --now "$name.service"
    quietly apt-get install -y --reinstall -o Dpkg::Options::=--force-confold /packages/next.deb
    is disabled is-enabled "$name.service"
    is inactive is-active "$name.service"
    quietly systemctl enable --now "$name.service"
    quietly apt-get remove -y "$name"
    is inactive is-active "$name.service"
    inside test -f "$config" || die "removed, and its configuration with it"
    ! inside test -e "/usr/bin/$name" || die "removed, and the program is there"
    echo "removed (deb): stopped, the configuration stays"
    quietly apt-get purge -y "$name"
    nothing_left "purged (deb)"
}

# Its dependencies are not known to rpm's own list on Debian, hence --nodeps; the program itself needs none but libc.
try_rpm() {
    # On distributions with rpm these belong to others, `filesystem` for one.
    inside mkdir -p /usr/share/fish/vendor_completions.d /usr/share/licenses /usr/share/zsh/site-functions
    files >"$work/before"
    quietly rpm --install --nodeps "/packages/${rpm##*/}"
    is enabled is-enabled "$name.service"
    is inactive is-active "$name.service"
    quietly systemctl start "$name.service"
    answers "installed (rpm)"
    quietly rpm --verify --nodeps "$name"
    quietly rpm --upgrade --replacepkgs --nodeps "/packages/${rpm##*/}"
    answers "installed again (rpm)"
    quietly rpm --erase "$name"
    nothing_left "erased (rpm)"
}

[ "$(id -u)" = 0 ] || { echo "needs root: it makes a system of its own and boots it" >&2; exit 2; }
tools
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)
mkdir "$work/packages"
"$here/build.sh" "$work/packages"
deb=$(echo "$work"/packages/*.deb)
rpm=$(echo "$work"/packages/*.rpm)
check_contents
check_lint
next
boot
try_deb
try_rpm
