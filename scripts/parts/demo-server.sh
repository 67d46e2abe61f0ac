# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables of scripts/demo and scripts/lib.sh
# The demo's web application, the server it runs on, and clients that never stop asking.
# Sourced by `scripts/demo`, whose functions and variables it uses.
#
# The server is a folder that stands for `/`: the receiver's own `init` sets it up there. What cannot be put
# into a folder is this machine's: Docker, and the application's system user, which sshd has to know. The
# user is removed at the end.

app=shop
server=$demo/server
receiver=$programs/autotag-receiver

owner() { "${as_root[@]}" "$receiver" --root "$server" "$@"; }

# A host that nobody has set up yet: users, sshd's keys, nothing else.
new_host() {
    mkdir -p "$server"/{etc/ssh,root,run,var}
    printf 'root:x:0:0:root:/root:/bin/bash\n' >"$server/etc/passwd"
    printf 'root:x:0:\n' >"$server/etc/group"
    touch "$server"/etc/{shadow,gshadow}
    cp /etc/login.defs "$server/etc/"
    ssh-keygen -q -t ed25519 -N '' -C demo -f "$server/etc/ssh/ssh_host_ed25519_key"
    ssh_port=$(free_port) web_port=$(free_port)
}

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# `autotag-receiver init`, as the server's owner types it. What it prints for the repository is kept, as the
# owner would paste it; the private key is shown to nobody.
init_server() {
    owner init "$app" --image "$registry/org/$app" --port 3000 --listen "127.0.0.1:$web_port" \
        --health /healthz --public-name 127.0.0.1 --ssh-port "$ssh_port" >"$demo/init.txt"
    sed -n '/BEGIN OPENSSH PRIVATE KEY/,/END OPENSSH PRIVATE KEY/p' "$demo/init.txt" >"$demo/key"
    chmod 600 "$demo/key"
    known_hosts=$(grep -m 1 "^\[127.0.0.1\]:$ssh_port " "$demo/init.txt")
    awk '/BEGIN OPENSSH/ { print "    | (the private key)"; key = 1 } !key { print "    | " $0 } /END OPENSSH/ { key = 0 }' "$demo/init.txt"
    # Quicker than a real one, so that nobody waits for the demo.
    "${as_root[@]}" sed -i 's/^health: .*/health: {path: "\/healthz", deadline: 5s, stable: 500ms}/' "$server/etc/autotag/$app.yaml"
    printf 'smoke: [{path: /, contains: "."}]\ndrain: 5s\nkeep: 5\n' | "${as_root[@]}" tee -a "$server/etc/autotag/$app.yaml" >/dev/null
}

# The names that the demo takes on this machine must be free: nobody's shop is touched.
refuse_a_real_shop() {
    ! getent passwd "autotag-$app" >/dev/null || die "this machine has a user autotag-$app; the demo would take it over"
    if [[ -n $(docker ps --all --quiet --filter "label=autotag-deploy.app=$app") ]] ||
        docker network inspect "autotag-$app" >/dev/null 2>&1; then
        die "this Docker has an application $app already; the demo would take it over"
    fi
}

# The user that `init` added to the server's files, for this machine's sshd. It can do nothing but that key's
# one command.
borrow_user() {
    local user=autotag-$app ids
    ids=$(awk -F: -v user="$user" '$1 == user { print $3 ":" $4 }' "$server/etc/passwd")
    # Its numbers are the server's; here they may be somebody else's.
    "${as_root[@]}" useradd --system --no-create-home --password '*' --home-dir "$server/var/lib/autotag/home" \
        --shell /bin/sh --no-user-group --gid nogroup "$user"
    note user "$user"
    # The server knows the user by the number that the kernel tells.
    "${as_root[@]}" sed -i "s/^$user:x:${ids%:*}:/$user:x:$(id -u "$user"):/" "$server/etc/passwd"
    "${as_root[@]}" sed -i "s/^autotag:x:[0-9]*:/autotag:x:$(id -g "$user"):/" "$server/etc/group"
}

start_server() {
    "${as_root[@]}" mkdir -p /run/sshd "$server/run/autotag-proxy"
    cat >"$server/etc/ssh/sshd_config" <<CONFIG
Port $ssh_port
ListenAddress 127.0.0.1
HostKey $server/etc/ssh/ssh_host_ed25519_key
PidFile none
UsePAM no
StrictModes no
Match User autotag-$app
    AuthorizedKeysFile $server/etc/autotag/keys/%u
    AuthenticationMethods publickey
    PermitTTY no
CONFIG
    chmod 755 "$demo" "$server"
    # Not by a function: its number would be that of a shell in between, which leaves them behind when it is ended.
    "${as_root[@]}" /usr/sbin/sshd -D -e -f "$server/etc/ssh/sshd_config" >"$demo/sshd.log" 2>&1 </dev/null &
    note process $!
    "${as_root[@]}" "$receiver" --root "$server" proxy >"$demo/proxy.log" 2>&1 </dev/null &
    note process $!
    "${as_root[@]}" "$receiver" --root "$server" serve >"$demo/serve.log" 2>&1 </dev/null &
    note process $!
    local deadline=$((SECONDS + 20))
    until [[ -S $server/run/autotag/serve.sock && -S $server/run/autotag-proxy/admin.sock ]]; do
        ((SECONDS < deadline)) || { tail -n 5 "$demo"/{serve,proxy}.log >&2 && die "the server did not start"; }
        sleep 0.1
    done
}

# A repository with the application.
new_shop() {
    mkdir -p "$shop"
    app_files "$shop" "$programs/test-app"
    git -C "$shop" init --quiet --initial-branch main
    commit_shop "A web shop" >/dev/null
}

commit_shop() {
    git -C "$shop" add --all
    git -C "$shop" -c user.name=Demo -c user.email=demo@example.com commit --quiet --allow-empty --message "$1"
    git -C "$shop" rev-parse HEAD
}

# The action, for the shop: released and deployed in one step. $1 is the commit, what follows are more inputs.
run_shop() {
    local commit=$1
    shift
    run_action "$commit" \
        INPUT_DEPLOY-HOST=127.0.0.1 INPUT_DEPLOY-PORT="$ssh_port" "INPUT_DEPLOY-KEY=$(<"$demo/key")" \
        "INPUT_DEPLOY-KNOWN-HOSTS=$known_hosts" INPUT_DEPLOY-USER="autotag-$app" INPUT_DEPLOY-APP="$app" "$@"
}

front_door() { curl -fsS --max-time 5 "http://127.0.0.1:$web_port/"; }

expect_served() {
    local served
    served=$(front_door)
    [[ $served == "$1 "* ]] || die "expected $1 to serve, and the front door says: $served"
    say "the front door says: $served"
}

start_load() {
    "$programs/load" --url "http://127.0.0.1:$web_port" --seconds 600 >"$demo/load.txt" 2>&1 </dev/null &
    load_pid=$!
    note process "$load_pid"
}

# Ends the clients, and shows what they counted. They fail where anything was lost.
stop_load() {
    local status=0
    kill -TERM "$load_pid" 2>/dev/null || true
    wait "$load_pid" || status=$?
    load_pid=
    sed 's/^/    | /' "$demo/load.txt"
    [[ $status -eq 0 ]] || die "requests were lost"
}
