#!/usr/bin/env bash
# Builds the image of the Dockerfile for real from a commit, runs it, scrapes it. No registry is needed: the base image
# is made here (base-image.sh), the crates are those of cargo's own cache and registry (cargo vendor).
# Needs root. Environment: REVISION, the commit (HEAD); PORT to serve on (10961); STORAGE, a directory to keep images in
# between runs (else they are removed): what is there of that commit is not built again.
# Exit code: 0 fine, 1 not, 2 a tool is missing.
set -euo pipefail
cd "$(dirname "$0")/../.."
here=deploy/docker
port=${PORT:-10961}
limit=15000000 # bytes
name=localhost/sockdiag-exporter:check
container=sockdiag-exporter-check-$$
revision=$(git rev-parse --short=12 "${REVISION:-HEAD}")

die() {
    echo "image: $*" >&2
    exit 1
}

install_tools() {
    local tool missing=()
    for tool in buildah podman debootstrap curl setpriv; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    [ ${#missing[@]} = 0 ] && return
    if [ "${CI:-}" = true ]; then
        apt-get update -q >/dev/null
        apt-get install -qy --no-install-recommends "${missing[@]/setpriv/util-linux}" >/dev/null
    else
        echo "missing: ${missing[*]} (Debian: apt-get install ${missing[*]/setpriv/util-linux})" >&2
        exit 2
    fi
}

work=$(mktemp -d)
storage=${STORAGE:-$work/storage}
store=(--root "$storage/root" --runroot "$storage/run")
pid=
mounted=

clean() {
    [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
    podman "${store[@]}" rm --force --time 2 "$container" >/dev/null 2>&1 || true
    [ -z "$mounted" ] || buildah "${store[@]}" rm "$mounted" >/dev/null || true
    # Overlay mounts of the storage would keep the directory busy.
    [ -n "${STORAGE:-}" ] || buildah "${store[@]}" rmi --all --force >/dev/null 2>&1 || true
    umount "$storage/root/overlay" 2>/dev/null || true
    rm -rf "$work"
}

build() {
    local base context
    if [ "$(label 2>/dev/null)" = "$revision" ]; then
        echo "$name of $revision is built already"
        return
    fi
    base=$(sed -n 's/^FROM \(rust:[^ ]*\) AS build$/\1/p' Dockerfile)
    [ -n "$base" ] || die "no base of the build stage found in Dockerfile"
    if ! buildah "${store[@]}" images --quiet "docker.io/library/$base" >/dev/null 2>&1; then
        BUILDAH="buildah ${store[*]}" "$here/base-image.sh" "$base" >"$work/base.log" 2>&1 || {
            tail -30 "$work/base.log" >&2
            die "cannot make $base"
        }
    fi
    context=$work/context
    mkdir -p "$context/.cargo"
    git archive "$revision" | tar -x -C "$context"
    # A cargo configuration outside of the context would not reach into the image.
    (cd "$context" && cargo vendor --locked vendor >.cargo/config.toml 2>../vendor.log) || {
        tail -5 "$work/vendor.log" >&2
        die "cargo vendor failed"
    }
    nice buildah "${store[@]}" build --isolation chroot --network host --pull-never \
        --build-arg "REVISION=$revision" --tag "$name" "$context"
    buildah "${store[@]}" rmi --prune >/dev/null 2>&1 || true
}

inspect() {
    podman "${store[@]}" image inspect --format "$1" "$name"
}

label() {
    inspect '{{index .Labels "org.opencontainers.image.revision"}}'
}

check_image() {
    local size
    size=$(inspect '{{.Size}}')
    [ "$size" -le "$limit" ] || die "$size bytes, more than $limit"
    [ "$(inspect '{{.Config.User}}')" = 65534:65534 ] || die "user is $(inspect '{{.Config.User}}')"
    [ "$(label)" = "$revision" ] || die "the label does not name the revision"
    mounted=$(buildah "${store[@]}" from --pull-never "$name")
    root=$(buildah "${store[@]}" mount "$mounted")
    [ "$(cd "$root" && find . -type f | sort | xargs)" = "./LICENSE ./etc/sockdiag-exporter.toml ./sockdiag-exporter" ] ||
        die "other files than expected: $(cd "$root" && find . -type f | sort | xargs)"
    echo "image: $size bytes, user 65534, no shell"
}

# podman where it can run here; else the image's files as that user, without capabilities, in the host's network.
start() {
    local arguments=(serve --config /etc/sockdiag-exporter.toml --listen "127.0.0.1:$port")
    if podman "${store[@]}" run --detach --name "$container" --network host --read-only --cap-drop all \
        --security-opt no-new-privileges --cgroups disabled --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --pull never "$name" "${arguments[@]}" \
        >"$work/podman.log" 2>&1; then
        running=podman
        return
    fi
    running=chroot
    echo "podman cannot run a container here ($(tail -1 "$work/podman.log")): running the image's files under chroot"
    unshare --mount bash -c '
        mkdir -p "$1/proc" && mount --rbind /proc "$1/proc"
        root=$1; shift
        exec setpriv --no-new-privs chroot --userspec=65534:65534 --groups="" "$root" /sockdiag-exporter "$@"
    ' start "$root" "${arguments[@]}" >"$work/run.log" 2>&1 &
    pid=$!
}

logs() {
    if [ "$running" = podman ]; then podman "${store[@]}" logs "$container"; else cat "$work/run.log"; fi
}

check_run() {
    local at page="" first owner
    for at in $(seq 60); do
        curl -sf -o /dev/null "http://127.0.0.1:$port/-/ready" && break
        [ "$at" -lt 60 ] || { logs >&2; die "not ready after 30 s"; }
        sleep 0.5
    done
    page=$(curl -sf "http://127.0.0.1:$port/metrics")
    grep -q "^sockdiag_build_info{.*revision=\"$revision\"" <<<"$page" || die "another revision answers"
    read -r first _ </proc/sys/net/ipv4/ip_local_port_range
    grep -qx "sockdiag_ephemeral_port_range_first{netns=\"host\"} $first" <<<"$page" || die "not the host's network namespace"
    grep -q '^sockdiag_sockets{.*state="listen"} [1-9]' <<<"$page" || die "sees no listener, not even its own"
    [ "$running" = chroot ] || pid=$(podman "${store[@]}" inspect --format '{{.State.Pid}}' "$container")
    owner=$(stat -c %u "/proc/$pid")
    [ "$owner" = 65534 ] || die "runs as uid $owner"
    grep -q '^CapEff:\s*0*$' "/proc/$pid/status" || die "runs with capabilities"
    echo "run ($running): ready, $(grep -c '^sockdiag_' <<<"$page") series of the host's namespace, uid 65534, no capabilities"
}

check_stop() {
    local code=0
    if [ "$running" = podman ]; then
        podman "${store[@]}" stop --time 10 "$container" >/dev/null
        code=$(podman "${store[@]}" inspect --format '{{.State.ExitCode}}' "$container")
    else
        kill -TERM "$pid"
        wait "$pid" || code=$?
    fi
    pid=
    [ "$code" = 0 ] || die "ended with exit code $code on SIGTERM"
    echo "stop: exit code 0 on SIGTERM"
}

install_tools
trap clean EXIT
build
check_image
start
check_run
check_stop
