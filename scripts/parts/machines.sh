# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables of scripts/walk and scripts/lib.sh
# The machines that `scripts/walk` walks on, and what stands in for the rest of the world. Sourced by it.
#
# The documentation's names are true here. On a network of their own there are two machines:
#
#   deploy.example.com   the server: Debian with systemd, sshd and its own Docker, as `scripts/images/systemd-image` makes it
#   github.com, api.github.com, ghcr.io
#                        the workstation, which also plays GitHub. Its files are this machine's, read only; it has a
#                        Docker of its own, for the runner. TLS is Caddy's, the registry is docker-registry, the
#                        API is this project's double, Git's server is Git's
#
# A certificate authority made for this walk vouches for the three names, and all who ask trust it as they
# trust the others: the two machines, their Dockers, and the action's container.

walk_id=$$
network=autotag-walk-$walk_id
workstation=autotag-walk-workstation-$walk_id
server=autotag-walk-server-$walk_id
# Docker in Docker, and systemd, need a part of a machine's rights; `scripts/images/systemd-image` says which.
machine=(--detach --label "$test_label" --network "$network"
    --cap-add SYS_ADMIN --cap-add NET_ADMIN --cap-add SYS_PTRACE
    --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined
    --cgroupns=host --volume /sys/fs/cgroup:/sys/fs/cgroup --volume /var/lib/docker --tmpfs /run --tmpfs /tmp)

# Bash scripts from standard input; on the workstation at a terminal, where a person sits: `plan` asks `gh` for a login
# only there.
in_workstation() {
    docker exec --interactive --workdir "${directory:-/you}" "$workstation" bash -c \
        'cat >/run/typed && exec script --quiet --return --command "bash -euo pipefail /run/typed" /dev/null </dev/null' |
        sed -E 's/\x1b\[[0-9;?]*[A-Za-z]//g; s/\r//g'
}
in_server() { docker exec --interactive --workdir /root "$server" bash -euo pipefail -s; }

# One certificate for the names that are played here, and its authority.
make_certificates() {
    local ca=$walk/ca
    mkdir -p "$ca"
    {
        openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=autotag-walk" -keyout "$ca/ca.key" -out "$ca/ca.pem"
        openssl req -newkey rsa:2048 -nodes -subj "/CN=github.com" -keyout "$ca/key.pem" -out "$ca/request.pem"
        openssl x509 -req -in "$ca/request.pem" -CA "$ca/ca.pem" -CAkey "$ca/ca.key" -CAcreateserial -days 2 \
            -extfile <(echo "subjectAltName=DNS:github.com,DNS:api.github.com,DNS:ghcr.io") -out "$ca/cert.pem"
    } 2>"$walk/openssl.log" || die "no certificates" "$(<"$walk/openssl.log")"
    cat /etc/ssl/certs/ca-certificates.crt "$ca/ca.pem" >"$ca/bundle.crt"
}

# An image with nothing in it but the links that every Debian has at the top: the rest is mounted.
this_machine_image() {
    local files=$walk/this-machine link
    mkdir -p "$files"/{etc/ssl/certs,usr,var/lib,you,srv,walk}
    for link in bin sbin lib lib64; do
        [[ ! -L /$link ]] || ln -s "usr/$link" "$files/$link"
    done
    ln -s /run "$files/var/run"
    cp /etc/{passwd,group,ld.so.cache} "$files/etc/"
    tar --create --numeric-owner --owner 0 --group 0 --directory "$files" . |
        docker import --change "LABEL $test_label=" - "autotag-walk:$walk_id" >/dev/null
    rm -rf "$files"
}

start_workstation() {
    this_machine_image
    local path=/you/.local/bin:/walk/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    docker run "${machine[@]}" --name "$workstation" --hostname workstation \
        --network-alias github.com --network-alias api.github.com --network-alias ghcr.io \
        --volume /usr:/usr:ro --volume /etc/alternatives:/etc/alternatives:ro --volume "$walk/play:/walk:ro" \
        --volume "$walk/ca/bundle.crt:/etc/ssl/certs/ca-certificates.crt:ro" \
        --env HOME=/you --env NO_COLOR=1 --env GIT_PAGER=cat --env "PATH=$path" "autotag-walk:$walk_id" bash -c 'sleep infinity & wait' >/dev/null # bash buries what dies
    docker exec --interactive "$workstation" bash -euo pipefail -s <"$root/scripts/parts/github" >"$walk/github.log" 2>&1 ||
        die "GitHub's stand-ins did not start" "$(tail -n 20 "$walk/github.log")"
}

start_server() {
    "$root/scripts/images/systemd-image" >/dev/null
    docker create "${machine[@]:1}" --name "$server" --hostname server --network-alias deploy.example.com \
        --stop-signal SIGRTMIN+3 autotag-deploy-systemd >/dev/null
    docker cp "$walk/ca/bundle.crt" "$server:/etc/ssl/certs/ca-certificates.crt"
    docker start "$server" >/dev/null
}

# `degraded` will do: a container cannot have every unit of a machine.
wait_for_server() {
    local said="" deadline=$((SECONDS + 60))
    until [[ $said =~ running|degraded ]]; do
        ((SECONDS < deadline)) || die "the server does not boot: $said"
        said=$(docker exec "$server" systemctl is-system-running --wait 2>&1) || true
        sleep 0.2 # systemd's bus may not be there yet, so there is no event to wait for
    done
}

# shellcheck disable=SC2317,SC2329 # called by the trap
remove_machines() {
    docker rm --force --volumes "$workstation" "$server" >/dev/null 2>&1 || true
    docker network rm "$network" >/dev/null 2>&1 || true
    docker image rm --force "autotag-walk:$walk_id" >/dev/null 2>&1 || true
}

# What the two machines get from this checkout.
prepare() {
    say "building the action's image, the programs, GitHub's double and the application"
    build_action_image "$AUTOTAG_DEPLOY_TEST_IMAGE" >"$walk/log/image.txt" 2>&1 ||
        die "the action's image cannot be built" "The whole log: $walk/log/image.txt"
    cargo build --locked --quiet --bin github-double --bin test-app
    mkdir -p "$play"/{bin,github,action,download,app,tls}
    echo ghs_the_token_of_the_walk >"$play/token"
    cp "$root/scripts/parts"/{gh,run-workflow} "$made/tools/bin/act" "$play/bin/"
    cp "$root/scripts/parts/git-server" "$made/debug/github-double" "$play/github/"
    # As a release pins it, but for the digest.
    sed -E "s|^  image: .*|  image: docker://ghcr.io/org/autotag-deploy:1|" action.yml >"$play/action/action.yml"
    app_files "$play/app"
    release_files "$play/download"
    make_certificates
    cp "$walk/ca"/{cert,key}.pem "$play/tls/"
}

# What a release has to download: both programs as they ship, and their sums.
release_files() {
    local folder=$1 container
    "$root/scripts/release/build-program" receiver "$folder/autotag-receiver-$(uname -m)" >"$walk/log/receiver.txt" 2>&1 ||
        die "the receiver cannot be built" "The whole log: $walk/log/receiver.txt"
    container=$(docker create --label "$test_label" "$AUTOTAG_DEPLOY_TEST_IMAGE")
    docker cp "$container:/autotag-deploy" "$folder/autotag-deploy-$(uname -m)"
    docker rm "$container" >/dev/null
    (cd "$folder" && sha256sum -- * >SHA256SUMS.new && mv SHA256SUMS.new SHA256SUMS)
}

start_machines() {
    docker network create --label "$test_label" "$network" >/dev/null
    start_server
    start_workstation
    docker save "$AUTOTAG_DEPLOY_TEST_IMAGE" | docker exec --interactive "$workstation" docker load --quiet >/dev/null
    docker exec "$workstation" docker tag "$AUTOTAG_DEPLOY_TEST_IMAGE" ghcr.io/org/autotag-deploy:1
    wait_for_server
}

keep_logs() {
    docker exec "$workstation" bash -c 'tail -n +1 /srv/*.log' >"$walk/log/github.txt" 2>&1 || true
    docker exec "$server" journalctl --no-pager >"$walk/log/server.txt" 2>&1 || true
}
