#!/usr/bin/env bash
# The same web configuration file, the same requests of curl: Debian's prometheus-node-exporter beside ours. Fails where
# they differ and no reason is given below. It listens on the loopback alone and leaves nothing behind.
#   apt-get install --no-install-recommends prometheus-node-exporter curl openssl
#   deploy/web-config/client-matrix.sh target/release/sockdiag-exporter
set -euo pipefail
export LC_ALL=C
ours=$(realpath "${1:?usage: client-matrix.sh PATH-OF-SOCKDIAG-EXPORTER}")
theirs=$(command -v prometheus-node-exporter)
work=$(mktemp -d)
our_port=${OUR_PORT:-19061} their_port=${THEIR_PORT:-19100}
pids=()
stop() {
    if ((${#pids[@]})); then
        kill "${pids[@]}" 2>/dev/null || true
        # One that has refused to start ended with an error.
        wait "${pids[@]}" || true
    fi
    pids=()
}
trap 'stop; rm -rf "$work"' EXIT
cd "$work"

# Where they may differ, and why. All differences are listed in README.md.
declare -A reasons=(
    ["bad change|known user"]="we keep what was read before"
    ["bad change|nobody"]="we keep what was read before"
    ["bad change, TLS|known user"]="we keep what was read before"
    ["emptied file|nobody"]="a change takes no user away"
    ["emptied file|wrong password"]="a change takes no user away"
    ["missing certificate later|trusting"]="we keep what was read before"
    ["verify without an authority|start"]="the toolkit believes every public authority"
    ["P-521 key|start"]="ring has no P-521"
    ["RSA of 1024 bits|start"]="ring has no short RSA"
    ["client is an authority|itself"]="RFC 5280: an authority is no client"
    ["HTTP/2 suite missing|start"]="we have no HTTP/2 that would need it"
    ["CBC suites alone|start"]="rustls has no CBC suites"
    ["P-521 curve alone|start"]="ring has no P-521"
    ["max TLS11|start"]="rustls has no TLS 1.1"
    ["min TLS10|TLS 1.1"]="rustls has no TLS 1.1"
    ["rate limit|start"]="node_exporter 1.5 is older than the key"
    ["one allowed name|start"]="node_exporter 1.5 is older than the key"
    ["certificate inline|start"]="node_exporter 1.5 is older than the key"
)

declare -A met=()

# -- certificates ---------------------------------------------------------------------------------------------------
quietly() { "$@" 2>>openssl.log || { cat openssl.log; exit 1; }; }
authority() { # NAME
    quietly openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=$1" \
        -addext keyUsage=critical,keyCertSign -keyout "$1.key" -out "$1.pem"
}
issue() { # AUTHORITY NAME USAGE SAN NEWKEY...
    local authority=$1 name=$2 usage=$3 san=$4
    shift 4
    quietly openssl req -new -nodes -subj "/CN=$name" "$@" -keyout "$name.key" -out "$name.csr"
    printf 'subjectAltName=%s\nextendedKeyUsage=%s\nbasicConstraints=CA:FALSE\n' "$san" "$usage" >"$name.ext"
    quietly openssl x509 -req -in "$name.csr" -CA "$authority.pem" -CAkey "$authority.key" -CAcreateserial -days 2 \
        -extfile "$name.ext" -out "$name.pem"
}
p256=(-newkey ec -pkeyopt ec_paramgen_curve:P-256)
authority ca
authority stranger
server=(serverAuth IP:127.0.0.1,DNS:localhost)
client=(clientAuth DNS:prometheus.example)
issue ca server "${server[@]}" "${p256[@]}"
issue ca rsa "${server[@]}" -newkey rsa:2048
issue ca rsa1024 "${server[@]}" -newkey rsa:1024
issue ca p384 "${server[@]}" -newkey ec -pkeyopt ec_paramgen_curve:P-384
issue ca p521 "${server[@]}" -newkey ec -pkeyopt ec_paramgen_curve:P-521
issue ca ed25519 "${server[@]}" -newkey ed25519
issue stranger renewed "${server[@]}" "${p256[@]}"
issue ca ours "${client[@]}" "${p256[@]}"
issue stranger forged "${client[@]}" "${p256[@]}"
issue ca wrong-use serverAuth DNS:prometheus.example "${p256[@]}"
quietly openssl req -x509 "${p256[@]}" -nodes -days 2 -subj /CN=itself -keyout itself.key -out itself.pem
for kind in server rsa; do # The older forms of a key in PEM.
    quietly openssl pkey -in "$kind.key" -traditional -out "$kind-old.key"
done
: >empty.pem

# -- the two exporters ----------------------------------------------------------------------------------------------
compared=0 differences=0 explained=0
compare() { # CASE WHAT THEIRS OURS
    local reason=${reasons["$1|$2"]:-}
    compared=$((compared + 1))
    if [[ $3 == "$4" ]]; then
        printf 'same       %-34s %-22s %s\n' "$1" "$2" "$3"
    elif [[ $reason ]]; then
        explained=$((explained + 1))
        met["$1|$2"]=1
        printf 'explained  %-34s %-22s %s there, %s here: %s\n' "$1" "$2" "$3" "$4" "$reason"
    else
        differences=$((differences + 1))
        printf 'DIFFERENT  %-34s %-22s %s there, %s here\n' "$1" "$2" "$3" "$4"
        tail -q -n 1 theirs.log ours.log | cut -c 1-300
    fi
}

outcome() { # LOG PID LINE: whether the log gets that line, or the program refused to start.
    for _ in $(seq 100); do
        kill -0 "$2" 2>/dev/null || { echo refused; return; }
        # The toolkit says so before its last check.
        grep -q "$3" "$1" && sleep 0.1 && kill -0 "$2" 2>/dev/null && { echo started; return; }
        sleep 0.05
    done
    echo hangs
}

# Starts both with web.yml, which stands on standard input.
case_=
config() { # CASE
    case_=$1
    stop
    cat >web.yml
    : >theirs.log
    : >ours.log
    "$theirs" --web.listen-address="127.0.0.1:$their_port" --web.config.file="$PWD/web.yml" --collector.disable-defaults \
        >theirs.log 2>&1 &
    local their_pid=$!
    "$ours" --web.listen-address="127.0.0.1:$our_port" --web.config.file="$PWD/web.yml" >ours.log 2>&1 &
    local our_pid=$!
    pids=("$their_pid" "$our_pid")
    compare "$case_" start "$(outcome theirs.log "$their_pid" "TLS is")" \
        "$(outcome ours.log "$our_pid" "sockdiag-exporter started")"
}

# The status, or curl's exit code where there is none. Which code curl has for a connection that the server ended depends on
# the name of the alert and on the moment it arrives (16, 35, 52, 55, 56, 98): all of them are "refused".
ask_one() { # PORT SCHEME PATH ARGUMENTS...
    local port=$1 scheme=$2 path=$3 status code=0
    shift 3
    status=$(curl --silent --noproxy '*' --max-time 10 --output body --write-out '%{http_code}' "$@" \
        "$scheme://127.0.0.1:$port$path") || code=$?
    case $code in
    0) echo "$status" ;;
    16 | 35 | 52 | 55 | 56 | 98) echo refused ;;
    *) echo "curl $code" ;;
    esac
}
ask_path() { # WHAT SCHEME PATH ARGUMENTS...
    local what=$1
    shift
    compare "$case_" "$what" "$(ask_one "$their_port" "$@")" "$(ask_one "$our_port" "$@")"
}
ask() { # WHAT SCHEME ARGUMENTS...
    local what=$1 scheme=$2
    shift 2
    ask_path "$what" "$scheme" /metrics "$@"
}
header() { # WHAT NAME SCHEME ARGUMENTS...
    local what=$1 name=$2 scheme=$3 port found=()
    shift 3
    for port in "$their_port" "$our_port"; do
        found+=("$(curl --silent --noproxy '*' --max-time 10 --output body --dump-header - "$@" \
            "$scheme://127.0.0.1:$port/metrics" | tr -d '\r' | grep -i "^$name:" | cut -d ' ' -f 2 || echo none)")
    done
    compare "$case_" "$what" "${found[0]}" "${found[1]}"
}
trust=(--cacert ca.pem)
as() { printf '%s\n' --cert "$1.pem" --key "$1.key"; }
tls=$'tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n'
# The passwords are "one" and "two", at cost 5.
ann='$2y$05$abcdefghijklmnopqrstuuuLZW9x3q.ZSiA0aOz2IIJndlFR9/Q16'
bob='$2y$05$abcdefghijklmnopqrstuuv0jxmN8mbbauoShdaB/49tMV86zJIF2'

# A comparison with a program that does not even start would prove nothing.
config "empty file" <<<""
grep -q "TLS is" theirs.log || { cat theirs.log; exit 1; }

# -- the matrix -----------------------------------------------------------------------------------------------------
ask plain http
ask "TLS to plain" https "${trust[@]}"
header "no policy" X-Frame-Options http

config TLS <<<"$tls"
ask trusting https "${trust[@]}"
ask "wrong authority" https --cacert stranger.pem
ask "no authority" https
ask "plain to TLS" http
ask "TLS 1.2" https "${trust[@]}" --tls-max 1.2
ask "TLS 1.3" https "${trust[@]}" --tlsv1.3
ask "HTTP/1.1" https "${trust[@]}" --http1.1

for kind in rsa p384 ed25519 server-old rsa-old; do
    config "key $kind" <<<"tls_server_config: {cert_file: ${kind%-old}.pem, key_file: $kind.key}"
    ask trusting https "${trust[@]}"
done
config "P-521 key" <<<"tls_server_config: {cert_file: p521.pem, key_file: p521.key}"
config "RSA of 1024 bits" <<<"tls_server_config: {cert_file: rsa1024.pem, key_file: rsa1024.key}"

for policy in NoClientCert RequestClientCert RequireClientCert RequireAnyClientCert VerifyClientCertIfGiven RequireAndVerifyClientCert; do
    authority=$'\n  client_ca_file: ca.pem'
    [[ $policy == NoClientCert ]] && authority=
    config "$policy" <<<"$tls  client_auth_type: $policy$authority"
    for version in --tls-max\ 1.2 --tlsv1.3; do
        ask "no certificate ${version: -3}" https "${trust[@]}" $version
        for identity in ours forged wrong-use; do
            mapfile -t certificate < <(as "$identity")
            ask "$identity ${version: -3}" https "${trust[@]}" "${certificate[@]}" $version
        done
    done
done
mapfile -t certificate < <(as itself)
config "client is an authority" <<<"$tls  client_auth_type: RequireAndVerifyClientCert"$'\n  client_ca_file: itself.pem'
ask itself https "${trust[@]}" "${certificate[@]}"

users=$'basic_auth_users:\n'"  ann: $ann"$'\n'"  bob: $bob"
for scheme in http https; do
    case $scheme in
    http) config "users" <<<"$users" ;;
    https) config "users, TLS" <<<"$tls$users" ;;
    esac
    ask "no password" "$scheme" "${trust[@]}"
    ask right "$scheme" "${trust[@]}" --user ann:one
    ask "right, again" "$scheme" "${trust[@]}" --user ann:one
    ask "the other" "$scheme" "${trust[@]}" --user bob:two
    ask "wrong password" "$scheme" "${trust[@]}" --user ann:two
    ask "wrong, again" "$scheme" "${trust[@]}" --user ann:two
    ask "unknown user" "$scheme" "${trust[@]}" --user eve:one
    ask "empty password" "$scheme" "${trust[@]}" --user ann:
    ask "empty user" "$scheme" "${trust[@]}" --user :one
    ask "lower case scheme" "$scheme" "${trust[@]}" --header "Authorization: basic YW5uOm9uZQ=="
    ask "no base64" "$scheme" "${trust[@]}" --header "Authorization: Basic %"
    ask "another scheme" "$scheme" "${trust[@]}" --header "Authorization: Bearer one"
    ask_path "page" "$scheme" / "${trust[@]}"
    ask_path "page, right" "$scheme" / "${trust[@]}" --user ann:one
    ask_path "health" "$scheme" /-/healthy "${trust[@]}"
    header challenge WWW-Authenticate "$scheme" "${trust[@]}"
done

config headers <<'EOF'
http_server_config:
  http2: false
  headers:
    X-Frame-Options: deny
    X-Content-Type-Options: nosniff
    X-XSS-Protection: 0
    Content-Security-Policy: default-src
    Strict-Transport-Security: max-age=1
EOF
for name in X-Frame-Options X-Content-Type-Options X-XSS-Protection Content-Security-Policy Strict-Transport-Security; do
    header "$name" "$name" http
done

config "min TLS13" <<<"$tls  min_version: TLS13"
ask "TLS 1.2" https "${trust[@]}" --tls-max 1.2
ask "TLS 1.3" https "${trust[@]}"
config "max TLS12" <<<"$tls  max_version: TLS12"
ask "TLS 1.3" https "${trust[@]}" --tlsv1.3
ask "TLS 1.2" https "${trust[@]}"
config "min TLS10" <<<"$tls  min_version: TLS10"
ask "TLS 1.2" https "${trust[@]}" --tls-max 1.2
ask "TLS 1.1" https "${trust[@]}" --http1.1 --tls-max 1.1 --ciphers DEFAULT@SECLEVEL=0
config "one suite" <<<"$tls  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]"
ask "that suite" https "${trust[@]}" --tls-max 1.2 --ciphers ECDHE-ECDSA-AES128-GCM-SHA256
ask "another suite" https "${trust[@]}" --tls-max 1.2 --ciphers ECDHE-ECDSA-AES256-GCM-SHA384
ask "TLS 1.3" https "${trust[@]}" --tlsv1.3
config "one curve" <<<"$tls  curve_preferences: [CurveP384]"
ask "that curve" https "${trust[@]}" --curves P-384
ask "another curve" https "${trust[@]}" --curves X25519
config "HTTP/2 suite missing" <<<"$tls  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]"
config "CBC suites alone" <<<"$tls  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA]"$'\nhttp_server_config: {http2: false}'
config "P-521 curve alone" <<<"$tls  curve_preferences: [CurveP521]"

# Refused at the start, or not.
while IFS='|' read -r name text; do
    config "$name" <<<"$(printf '%b' "$text")"
done <<EOF
no file of it|tls_server_config: {cert_file: missing.pem, key_file: server.key}
no key of it|tls_server_config: {cert_file: server.pem, key_file: missing.key}
an empty certificate|tls_server_config: {cert_file: empty.pem, key_file: server.key}
an empty key|tls_server_config: {cert_file: server.pem, key_file: empty.pem}
another key|tls_server_config: {cert_file: server.pem, key_file: rsa.key}
certificate alone|tls_server_config: {cert_file: server.pem}
key alone|tls_server_config: {key_file: server.key}
policy alone|tls_server_config: {client_auth_type: RequireAndVerifyClientCert}
version alone|tls_server_config: {min_version: TLS13}
names empty|tls_server_config: {cert_file: "", key_file: ""}
null sections|tls_server_config:\nhttp_server_config:\nbasic_auth_users:
authority without a policy|tls_server_config: {cert_file: server.pem, key_file: server.key, client_ca_file: ca.pem}
missing authority|tls_server_config: {cert_file: server.pem, key_file: server.key, client_auth_type: RequireAndVerifyClientCert, client_ca_file: missing.pem}
verify without an authority|tls_server_config: {cert_file: server.pem, key_file: server.key, client_auth_type: RequireAndVerifyClientCert}
unknown policy|tls_server_config: {cert_file: server.pem, key_file: server.key, client_auth_type: Maybe}
unknown version|tls_server_config: {cert_file: server.pem, key_file: server.key, min_version: TLS111}
max TLS11|tls_server_config: {cert_file: server.pem, key_file: server.key, min_version: TLS10, max_version: TLS11}
unknown suite|tls_server_config: {cert_file: server.pem, key_file: server.key, cipher_suites: [TLS_INVENTED]}
unknown curve|tls_server_config: {cert_file: server.pem, key_file: server.key, curve_preferences: [CurveP512]}
all suites|tls_server_config: {cert_file: server.pem, key_file: server.key, cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, TLS_AES_128_GCM_SHA256]}
unknown key|tls_server_config: {cert_file: server.pem, key_file: server.key, cert_fle: x}
unknown section|tls_config: {}
key said twice|tls_server_config: {cert_file: server.pem, key_file: server.key}\ntls_server_config: {}
not YAML|{
a list|- a
a word|junk
a switch that is none|http_server_config: {http2: perhaps}
a switch of YAML 1.1|http_server_config: {http2: no}
another header|http_server_config: {headers: {Server: x}}
header in lower case|http_server_config: {headers: {x-frame-options: deny}}
header with another value|http_server_config: {headers: {X-Frame-Options: allow}}
header that is blank|http_server_config: {headers: {X-Content-Type-Options: ""}}
rate limit|rate_limit: {interval: 1s, burst: 20}
one allowed name|tls_server_config: {cert_file: server.pem, key_file: server.key, client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem, client_allowed_sans: [prometheus.example]}
certificate inline|tls_server_config: {cert: "$(awk '{printf "%s\\\\n", $0}' server.pem)", key: "$(awk '{printf "%s\\\\n", $0}' server.key)"}
no hash|basic_auth_users: {ann: secret}
hash that is blank|basic_auth_users: {ann: ""}
cost of 3|basic_auth_users: {ann: \$2y\$03\$abcdefghijklmnopqrstuuuLZW9x3q.ZSiA0aOz2IIJndlFR9/Q16}
a name that is a number|basic_auth_users: {1234: $ann}
users in a list|basic_auth_users: [ann]
EOF

# -- changes while both run -----------------------------------------------------------------------------------------
one=$'basic_auth_users:\n'"  ann: $ann"
config "user added and removed" <<<"$one"
ask "ann before" http --user ann:one
ask "bob before" http --user bob:two
cat >web.yml <<<"$users"
ask "bob added" http --user bob:two
cat >web.yml <<<$'basic_auth_users:\n'"  bob: $bob"
ask "ann removed" http --user ann:one
ask "bob stays" http --user bob:two
config "bad change" <<<"$one"
ask "before" http --user ann:one
echo 'basic_auth_users: [' >web.yml
ask "known user" http --user ann:one
ask "nobody" http
cat >web.yml <<<"$one"
ask "mended" http --user ann:one
config "emptied file" <<<"$one"
: >web.yml
ask "nobody" http
ask "wrong password" http --user ann:two
config "bad change, TLS" <<<"$tls$one"
ask "before" https "${trust[@]}" --user ann:one
echo 'tls_server_config: {cert_fle: x}' >web.yml
ask "known user" https "${trust[@]}" --user ann:one
cp server.pem now.pem && cp server.key now.key
config "renewed certificate" <<<"tls_server_config: {cert_file: now.pem, key_file: now.key}"
ask "the old, trusted" https "${trust[@]}"
ask "the new, trusted" https --cacert stranger.pem
cp renewed.pem now.pem && cp renewed.key now.key
ask "the old, trusted, later" https "${trust[@]}"
ask "the new, trusted, later" https --cacert stranger.pem
config "missing certificate later" <<<"tls_server_config: {cert_file: now.pem, key_file: now.key}"
rm now.pem
ask trusting https --cacert stranger.pem

for known in "${!reasons[@]}"; do
    if [[ ! ${met[$known]:-} ]]; then
        echo "NOT MET    $known: ${reasons[$known]}"
        differences=$((differences + 1))
    fi
done
echo
echo "$compared compared, $differences different, $explained different for a reason given above"
((differences == 0))
