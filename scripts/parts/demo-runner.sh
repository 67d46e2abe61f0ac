# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables of scripts/demo and scripts/lib.sh
# The demo's runner and its GitHub: starts the action for a commit as a runner does, and shows what came of it.
# Sourced by `scripts/demo`, whose variables it uses.

# What the demo has made outside of its folder, one thing a line. A demo that is cut off leaves the file, and
# the next one removes what it names, and nothing else: others use this Docker, too.
noted=$demo/made
note() { printf '%s %s\n' "$1" "$2" >>"$noted"; }

# The repository that runs are for: its name, its clone, the address of its GitHub.
take_up() { repository=$1 project=$2 github=$3; }

# GitHub for one repository: start_github REPOSITORY CLONE. Sets `started` to its address.
start_github() {
    local name=${1##*/} process
    "$programs/github-double" --listen 127.0.0.1:0 --repository "$1" \
        --token "$token" --git "$2" --push-back >"$demo/$name.url" 2>"$demo/$name.log" </dev/null &
    process=$!
    note process "$process"
    local deadline=$((SECONDS + 20))
    until started=$(head -n 1 "$demo/$name.url") && [[ $started == http* ]]; do
        if ! kill -0 "$process" 2>/dev/null || ((SECONDS >= deadline)); then
            cat "$demo/$name.log" >&2
            die "the GitHub double did not start"
        fi
        sleep 0.1
    done
}

# The log as a person sees it on GitHub: masks and guards gone, groups closed (their lines are counted; all
# of them are in the full log).
as_shown() {
    awk '
        /^::add-mask::/ || /^::stop-commands::/ || /^::autotag-[0-9a-f]+::$/ { next }
        /^::group::/ { sub(/^::group::/, ""); title = $0; lines = 0; inside = 1; last = ""; next }
        /^::endgroup::/ { printf "    | > %s  (%d lines; %s)\n", title, lines, last; inside = 0; fflush(); next }
        inside { lines++; last = $0; next }
        { print "    | " $0; fflush() }
    '
}

# The action as a runner starts it, for one commit, with more inputs. Ends with the exit code of the action.
run_action() {
    local commit=$1 files=$demo/run status=0
    shift
    rm -rf "$files" && mkdir -p "$files"
    : >"$files/output" && : >"$files/summary"
    printf '{"repository":{"default_branch":"main"}}' >"$files/event.json"
    git -C "$project" checkout --quiet "$commit"
    say "the log:"
    env -i PATH="$PATH" ${DOCKER_HOST:+DOCKER_HOST="$DOCKER_HOST"} \
        CI=true GITHUB_ACTIONS=true GITHUB_REPOSITORY="$repository" GITHUB_SHA="$commit" \
        GITHUB_REF=refs/heads/main GITHUB_EVENT_NAME=push GITHUB_EVENT_PATH="$files/event.json" \
        GITHUB_ACTOR=octocat GITHUB_RUN_ID=$((++runs)) GITHUB_SERVER_URL=https://github.com \
        GITHUB_API_URL="$github" GITHUB_GRAPHQL_URL="$github/graphql" GITHUB_WORKSPACE="$project" \
        GITHUB_OUTPUT="$files/output" GITHUB_STEP_SUMMARY="$files/summary" \
        INPUT_IMAGE="$registry/$repository" INPUT_GITHUB-TOKEN="$token" "$@" \
        "$programs/autotag-deploy" </dev/null 2>&1 | tee -a "$full_log" | as_shown || status=$?
    git -C "$project" checkout --quiet main
    say "the outputs that later steps get:"
    # NAME<<DELIMITER, the value, DELIMITER.
    awk '/<</ && !open { split($0, head, "<<"); open = head[2]; next } $0 == open { open = ""; next }
         { printf "    | %-17s %s\n", head[1], $0 }' "$files/output"
    return "$status"
}

runs=0

# The value of an output of the last run.
output() { awk -v name="$1" '$0 ~ "^" name "<<" { getline; print; exit }' "$demo/run/output"; }

# The demo checks itself: a story that went otherwise must not look like success.
expect() {
    local found
    found=$(output "$1")
    [[ $found == "$2" ]] || die "expected the output $1 to be '$2', found '$found'" "The whole log: $full_log"
}

failed() { die "$1 failed" "The whole log: $full_log"; }

show_state() {
    say "the Git tags:"
    git -C "$project" for-each-ref refs/tags refs/autotag \
        --format='    | %(refname:short)  %(*objectname:short=12)  %(contents:subject)'
    say "the registry's tags:"
    curl -fsS "http://$registry/v2/$repository/tags/list" | jq -r '.tags | sort[]' | while read -r tag; do
        printf '    | %-32s %s\n' "$tag" "$(digest_of "$tag")"
    done
    say "what GitHub shows as Latest: $(curl -fsS "$github/_state" | jq -r .latest)"
}

digest_of() {
    curl -fsSI -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' \
        -H 'Accept: application/vnd.oci.image.manifest.v1+json' \
        "http://$registry/v2/$repository/manifests/$1" |
        tr -d '\r' | awk 'tolower($1) == "docker-content-digest:" { print $2 }'
}

show_release() {
    say "the text of the release $1:"
    curl -fsS "$github/_state" | jq -r --arg tag "$1" '.releases[] | select(.tag == $tag) | .body' | sed 's/^/    | /'
}

# ---- the end ----

# Removes what the demo has made outside of its folder: this one, or one that was cut off.
remove_what_was_made() {
    [[ -e $noted ]] || return 0
    local what which
    while read -r what which; do
        case $what in
            demo) [[ $which == "$$" ]] || refuse_a_second_demo "$which" ;;
            process) end_process "$which" ;;
            registry) remove_from_docker "$which" ;;
            user) "${as_root[@]}" userdel "$which" 2>/dev/null || true ;;
        esac
    done < <(in_order_of_removal)
    rm -f "$noted"
}

# The server's processes must be gone before their containers, or they would make new ones; what was made last goes
# first, but for the registry, whose name says what in Docker is the demo's.
in_order_of_removal() { grep '^demo ' "$noted" && { grep '^process ' "$noted" | tac || true; } && grep -Ev '^(demo|process) ' "$noted"; }

refuse_a_second_demo() {
    ! is_of_the_demo "$1" || die "the demo runs already, as process $1"
    say "removing what a demo has left that was cut off"
}

# Numbers of processes are given again: only one that speaks of the demo is the demo's.
is_of_the_demo() { tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline" | grep -qE "scripts/demo|$made/demo"; }

end_process() {
    is_of_the_demo "$1" || return 0
    "${as_root[@]}" kill "$1" 2>/dev/null || return 0
    wait "$1" 2>/dev/null || timeout 20 tail --pid="$1" -f /dev/null || true
}

# What came from the demo's registry, whose port no other one has: containers, images; and the shop's network.
remove_from_docker() {
    local id
    docker ps --all --quiet --filter "label=autotag-deploy.app=$app" | while read -r id; do
        [[ $(docker inspect --format '{{.Config.Image}}' "$id") != "$1/"* ]] || docker rm --force "$id" >/dev/null || true
    done
    docker network rm "autotag-$app" >/dev/null 2>&1 || true
    docker images --digests --format '{{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}}' | tr ' ' '\n' |
        { grep "^$1/" || true; } | { grep -v '<none>' || true; } |
        xargs --no-run-if-empty docker image rm --force >/dev/null 2>&1 || true
}
