# shellcheck shell=bash
# shellcheck disable=SC2154 # the variables of scripts/demo and scripts/lib.sh
# The demo's part of `--self`: this very project, with its own Dockerfile and history, is released.
# Sourced by `scripts/demo`, whose functions and variables it uses.

# One more commit in the clone: merge FILE TEXT.
merge() {
    printf '%s\n' "$2" >>"$project/$1"
    git -C "$project" add --all
    git -C "$project" -c user.name=Demo -c user.email=demo@example.com commit --quiet --message "$2"
    git -C "$project" rev-parse HEAD
}

release_this_project() {
    local clone=$demo/project first older newer version digest
    git -c advice.detachedHead=false clone --quiet --no-hardlinks "$root" "$clone"
    git -C "$clone" checkout --quiet -B main
    start_github org/autotag-deploy "$clone"
    take_up org/autotag-deploy "$clone" "$started"
    say "this project: a fresh clone of this repository, $(git -C "$clone" rev-list --count HEAD) commits"
    say "its GitHub: $github (this project's double, not GitHub; its tags go into the clone)"

    section "This project: the first release"
    first=$(git -C "$clone" rev-parse HEAD)
    run_action "$first" || failed "the first release"
    expect outcome released
    show_state
    show_release "$(output tag)"

    section "This project: two more merges; the newer one's run comes first"
    older=$(merge README.md "Say something in the README")
    newer=$(merge src/main.rs "// Say something in the program")
    say "merged $(git -C "$clone" log --oneline --reverse "$first..main" | tr '\n' ';')"
    run_action "$newer" || failed "the second release"
    expect outcome released
    version=$(output version) digest=$(output digest)
    show_state
    show_release "$(output tag)"

    section "This project: the same run again, which resumes and builds nothing"
    run_action "$newer" || failed "the re-run"
    expect outcome resumed
    expect version "$version"
    expect digest "$digest"

    section "This project: the older commit's run comes late, and is superseded"
    run_action "$older" || failed "the late run"
    expect outcome superseded
    show_state
    [[ $(digest_of latest) == "$digest" ]] || die "latest is not $version"
    # shellcheck disable=SC2034 # scripts/demo shows it at the end
    own_clone=$clone
}
