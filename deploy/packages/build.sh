#!/usr/bin/env bash
# Makes the .deb and the .rpm of the release binary: lays out a tree for each (below target/packages, where Cargo.toml
# looks for them) and packs these. Equal inputs give equal bytes: times are SOURCE_DATE_EPOCH's, the last commit's.
# Usage: build.sh [DIRECTORY], where the packages go; target/packages by default.
# Environment: BINARY, the release binary, else it is built; DEB_REVISION (1), the package's own revision;
# MANUAL_TARGET, a target directory for what writes the manual; PACKAGE_TOOLS, where cargo-deb and cargo-generate-rpm are or are put.
set -euo pipefail
out=$(realpath -m "${1:-"$(dirname "$0")/../../target/packages"}")
cd "$(dirname "$0")/../.."
here=deploy/packages
stage=target/packages
name=sockdiag-exporter
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH TZ=UTC LC_ALL=C.UTF-8
umask 022
tools=${PACKAGE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/sockdiag-exporter-tools}
export PATH=$tools/bin:$PATH
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -1)

"$here/tools.sh" cargo-deb cargo-generate-rpm
if [ -z "${BINARY:-}" ]; then
    cargo build --release --locked --bin "$name"
    BINARY=${CARGO_TARGET_DIR:-target}/release/$name
fi
rm -rf "$stage/deb" "$stage/rpm" "$stage/manual"
mkdir -p "$stage" "$out"

# What the program says of itself, from its own definition.
env -u RUSTFLAGS cargo run --quiet --locked ${MANUAL_TARGET:+--target-dir "$MANUAL_TARGET"} --example manual -- "$stage/manual"
"$here/licenses.py" >"$stage/third-party-licenses.txt"

# The repository's unit is for an administrator's own installation; packages have other places for the same files.
unit() {
    sed -e "s|/usr/local/bin/|/usr/bin/|g" -e "s|/etc/$name\.toml|/etc/$name/config.toml|g" \
        -e "s|^Documentation=man:sock_diag(7)|Documentation=man:$name(1)|" "deploy/systemd/$1"
}

put() { # MODE, FILE or - for standard input, PLACE
    install -D -m "$1" "${2/#-//dev/stdin}" "$3"
}

zipped() { # FILE, PLACE without .gz
    mkdir -p "$(dirname "$2")"
    gzip -9nc "$1" >"$2.gz"
}

lay() { # the tree of $1, deb or rpm; $2 where zsh looks there
    local root=$stage/$1 doc share page file
    share=$root/usr/share
    doc=$share/doc/$name
    put 755 "$BINARY" "$root/usr/bin/$name"
    strip --strip-unneeded --remove-section=.comment --remove-section=.note "$root/usr/bin/$name"
    put 644 config.example.toml "$root/etc/$name/config.toml"
    sed "s|/etc/$name\.toml|/etc/$name/config.toml|g" deploy/systemd/$name.default | put 644 - "$root/etc/default/$name"
    unit $name.service | put 644 - "$root/usr/lib/systemd/system/$name.service"
    unit $name.socket | put 644 - "$root/usr/lib/systemd/system/$name.socket"
    for page in "$stage"/manual/*.1; do
        zipped "$page" "$share/man/man1/${page##*/}"
    done
    put 644 "$stage/manual/$name.bash" "$share/bash-completion/completions/$name"
    put 644 "$stage/manual/$name.fish" "$share/fish/vendor_completions.d/$name.fish"
    put 644 "$stage/manual/_$name" "$share/zsh/$2/_$name"
    put 644 README.md "$doc/README.md"
    put 644 SECURITY.md "$doc/SECURITY.md"
    zipped "$stage/third-party-licenses.txt" "$doc/third-party-licenses.txt"
    for file in capabilities namespaces; do
        put 644 "deploy/systemd/$file.conf.example" "$doc/examples/systemd/$file.conf"
    done
    for file in deploy/prometheus/rules/*.yml; do
        put 644 "$file" "$doc/examples/prometheus/rules/${file##*/}"
    done
    for file in deploy/prometheus/*.example.yml; do
        put 644 "$file" "$doc/examples/prometheus/${file##*/}"
    done
    for file in deploy/grafana/dashboards/*.json; do
        put 644 "$file" "$doc/examples/grafana/${file##*/}"
    done
}

lay deb vendor-completions
zipped CHANGELOG.md "$stage/deb/usr/share/doc/$name/changelog"
put 644 "$here/lintian-overrides" "$stage/deb/usr/share/lintian/overrides/$name"
maintainer=$(sed -n 's/^maintainer = "\(.*\)"$/\1/p' Cargo.toml)
cat >"$stage/changelog.Debian" <<END
$name ($version-${DEB_REVISION:-1}) unstable; urgency=medium

  * The package of version $version. What changed in it is in changelog.gz.

 -- $maintainer  $(date -R -d "@$SOURCE_DATE_EPOCH")
END

lay rpm site-functions
put 644 CHANGELOG.md "$stage/rpm/usr/share/doc/$name/CHANGELOG.md"
put 644 LICENSE "$stage/rpm/usr/share/licenses/$name/LICENSE"

# The modes and times of directories and files are the packages', whatever this checkout's are.
find "$stage/deb" "$stage/rpm" "$stage/changelog.Debian" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +

cargo deb --quiet --locked --no-build --no-strip --deb-revision "${DEB_REVISION:-1}" --output "$out/"
cargo generate-rpm --payload-compress xz --set-metadata "release = \"${DEB_REVISION:-1}\"" --output "$out/"
(cd "$out" && ls -l ./*.deb ./*.rpm)
