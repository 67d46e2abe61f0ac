//! What can be done about an end that is none of the good ones. Pure.
//!
//! The protocol names kinds of refusals and the step at which something failed. What is more special stands in
//! the receiver's words only, which are read here for the topic and for nothing else: whoever acts on an end acts
//! on its kind.

use crate::{End, RefusalCode, RolloutStep};
use autotag_model::help::Topic;

/// The README's section about an end, where there is one.
pub fn topic(end: &End) -> Option<Topic> {
    match end {
        End::Refused { code, message } => of_refusal(*code, &message.to_ascii_lowercase()),
        End::Failed { step, message } => of_failure(*step, &message.to_ascii_lowercase()),
        End::Deployed {} | End::Unchanged {} | End::RolledBack {} | End::Reported {} => None,
    }
}

fn of_refusal(code: RefusalCode, words: &str) -> Option<Topic> {
    match code {
        RefusalCode::NewerIsLive | RefusalCode::RolledBack | RefusalCode::Downgrade => {
            Some(Topic::NewerIsLive)
        }
        RefusalCode::Protocol => Some(Topic::Protocol),
        RefusalCode::App => Some(Topic::NoApplication),
        RefusalCode::Repository => Some(Topic::OtherImage),
        RefusalCode::Environment => Some(Topic::Variable),
        RefusalCode::AppFile => Some(Topic::AppFile),
        RefusalCode::NotRecorded => Some(Topic::NotRecorded),
        RefusalCode::Unfinished => Some(Topic::Unfinished),
        RefusalCode::Host => {
            of_host(words).or_else(|| words.contains("does not answer").then_some(Topic::NoReceiver))
        }
        // An action older than its receiver is told so by a word that it does not know.
        RefusalCode::Malformed if words.contains("update autotag-receiver") => Some(Topic::Protocol),
        RefusalCode::IdTaken | RefusalCode::Malformed | RefusalCode::Labels | RefusalCode::Busy => None,
    }
}

fn of_failure(step: RolloutStep, words: &str) -> Option<Topic> {
    let special = match step {
        RolloutStep::Pull if words.contains("no image of this digest") => Some(Topic::NoImage),
        RolloutStep::Pull if words.contains("`deploy-registry-username`") => Some(Topic::PullRefused),
        RolloutStep::Pull if words.contains("healthcheck") => Some(Topic::AppFile),
        RolloutStep::Health => Some(Topic::Unhealthy),
        RolloutStep::Smoke | RolloutStep::Verify => Some(Topic::SmokeTest),
        _ if is_port_in_use(words) => Some(Topic::PortInUse),
        // What cannot even be started is as broken as what ends at once.
        RolloutStep::Start => Some(Topic::Unhealthy),
        _ => None,
    };
    of_host(words).or(special)
}

/// What is the machine's trouble at any step.
fn of_host(words: &str) -> Option<Topic> {
    if words.contains("no space left on device") {
        Some(Topic::DiskFull)
    } else if words.contains("no docker engine answers") {
        Some(Topic::ServerDocker)
    } else {
        None
    }
}

/// In the words of the kernel, as the proxy tells them, and of Docker.
fn is_port_in_use(words: &str) -> bool {
    ["address already in use", "port is already allocated"].iter().any(|known| words.contains(known))
}

/// What the one who runs the action can do, or ask the server's owner to.
pub fn remedy(end: &End) -> &'static str {
    match topic(end) {
        Some(Topic::NewerIsLive) => not_rising(end),
        Some(Topic::Protocol) => {
            "update the side that the message names: the action by `uses:`, the receiver by installing the newest one \
             and `systemctl restart autotag`"
        }
        Some(Topic::NoApplication) => {
            "let `deploy-app` and `deploy-user` name an application that `autotag-receiver status` on the server \
             lists; `autotag-receiver init APP` makes one"
        }
        Some(Topic::OtherImage) => {
            "let the input `image` be the one that the app file allows, or have the server's owner change `image` in \
             /etc/autotag/APP.yaml"
        }
        Some(Topic::Variable) => {
            "leave the variable out of `deploy-environment`, or have the server's owner add it to `allow_environment` \
             in /etc/autotag/APP.yaml"
        }
        Some(Topic::AppFile) => {
            "have the server's owner mend /etc/autotag/APP.yaml: `autotag-receiver check` names the faults; then run \
             the job again"
        }
        Some(Topic::NotRecorded) => {
            "choose a `version` that `autotag-receiver history` on the server lists, or take another there by \
             `command: deploy` with `version` and `deploy-allow-downgrade: true`"
        }
        Some(Topic::Unfinished) => {
            "look at the server: `autotag-receiver status` says what holds it up, `journalctl -u autotag` why; then \
             run the job again"
        }
        Some(Topic::NoReceiver) => {
            "start it on the server: `systemctl start autotag autotag-proxy`; `autotag-receiver check` names what else \
             is wrong"
        }
        Some(Topic::DiskFull) => {
            "free some of the server's disk (`docker system df`, `docker image prune --all`), and run the job again"
        }
        Some(Topic::ServerDocker) => {
            "start Docker on the server (`systemctl start docker`), and run the job again; `journalctl -u docker` says \
             why it stopped"
        }
        Some(Topic::NoImage) => {
            "deploy a version that the registry still has; where a clean-up removed it, spare tags of versions from it"
        }
        Some(Topic::PullRefused) => {
            "pass `deploy-registry-username: ${{ github.actor }}` and `deploy-registry-password: ${{ github.token }}`, \
             with `packages: read` under the job's `permissions:` (another registry: an account that may read), or \
             log the server in: `docker login` as root"
        }
        Some(Topic::Unhealthy) => {
            "read the container's last lines in the log above, mend the application, and release a new version; where it only \
             starts slowly, raise `health: {deadline: ...}` in the app file"
        }
        Some(Topic::SmokeTest) => {
            "mend the application and release a new version, or correct `smoke` in the app file and run the job again"
        }
        Some(Topic::PortInUse) => {
            "on the server `ss -ltnp` shows who has the port: stop that program, or give `listen` in the app file \
             another one; then run the job again"
        }
        _ => otherwise(end),
    }
}

/// About a version that does not rise, where nothing newer serves.
fn not_rising(end: &End) -> &'static str {
    match end {
        End::Refused { code: RefusalCode::Downgrade, .. } => {
            "release a new version; or have the server's owner deploy this one (`autotag-receiver deploy APP VERSION \
             --allow-downgrade`) or set `allow_downgrade: true` in /etc/autotag/APP.yaml"
        }
        _ => {
            "release a new version, which is above all that were live; where exactly this one is meant, set \
             `deploy-allow-downgrade: true`; where the highest version was a mistake, have the server's owner run \
             `autotag-receiver reset-highest APP`"
        }
    }
}

fn otherwise(end: &End) -> &'static str {
    match end {
        End::Refused { code: RefusalCode::Labels, .. } => {
            "deploy an image that this action built, under its own version and commit"
        }
        End::Refused { code: RefusalCode::IdTaken, .. } => "run the job again: it takes a new id",
        End::Refused { code: RefusalCode::Busy, .. } => {
            "wait until what is at work on the server is over, and run the job again"
        }
        End::Refused { code: RefusalCode::Host, .. } => {
            "look at the server, as the message says, and run the job again"
        }
        End::Refused { .. } => "see the message; if it makes no sense, report it as a defect",
        _ => {
            "mend what the message names and release a new version, or run the job again if it was the server's fault"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_have_their_sections() {
        let refused = |code, message: &str| End::Refused { code, message: message.to_owned() };
        let failed = |step, message: &str| End::Failed { step, message: message.to_owned() };
        for (end, expected) in [
            (
                refused(RefusalCode::Host, "/x cannot be used: No space left on device (os error 28)"),
                Some(Topic::DiskFull),
            ),
            (refused(RefusalCode::Host, "No Docker Engine answers at /x"), Some(Topic::ServerDocker)),
            (refused(RefusalCode::Host, "the proxy does not answer at /x: y"), Some(Topic::NoReceiver)),
            (refused(RefusalCode::Host, "state.json is missing"), None),
            (refused(RefusalCode::Labels, "x"), None),
            (failed(RolloutStep::Save, "No space left on device"), Some(Topic::DiskFull)),
            (failed(RolloutStep::Pull, "pulling x: unknown label"), None),
            (
                failed(RolloutStep::Switch, "cannot listen at [::]:80: Address already in use (os error 98)"),
                Some(Topic::PortInUse),
            ),
            (failed(RolloutStep::Start, "exec: \"/app\": no such file"), Some(Topic::Unhealthy)),
            (failed(RolloutStep::Drain, "x"), None),
            (End::Deployed {}, None),
        ] {
            assert_eq!(topic(&end), expected, "{end:?}");
            assert!(!remedy(&end).is_empty(), "{end:?}");
        }
    }
}
