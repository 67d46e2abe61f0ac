//! What can be done about an end that is none of the good ones: by its code alone. Pure.
//!
//! A message is for people; nothing here reads it, so that another wording on a server loses no remedy.

use crate::{End, FailureCode, Open, RefusalCode};
use autotag_model::help::Topic;

/// The section of the documentation about an end, where there is one.
pub fn topic(end: &End) -> Option<Topic> {
    match end {
        End::Refused { code, .. } => code.known().and_then(of_refusal),
        End::Failed { code, .. } => code.known().and_then(of_failure),
        End::Unknown(_) => Some(Topic::Protocol),
        End::Deployed {} | End::Unchanged {} | End::RolledBack {} | End::Reported {} => None,
    }
}

fn of_refusal(code: RefusalCode) -> Option<Topic> {
    match code {
        RefusalCode::NewerIsLive | RefusalCode::RolledBack | RefusalCode::Downgrade => {
            Some(Topic::NewerIsLive)
        }
        RefusalCode::Protocol | RefusalCode::NewerRequest => Some(Topic::Protocol),
        RefusalCode::App => Some(Topic::NoApplication),
        RefusalCode::Repository => Some(Topic::OtherImage),
        RefusalCode::Environment => Some(Topic::Variable),
        RefusalCode::AppFile => Some(Topic::AppFile),
        RefusalCode::NotRecorded => Some(Topic::NotRecorded),
        RefusalCode::Unfinished => Some(Topic::Unfinished),
        RefusalCode::ReceiverDown | RefusalCode::HostProxy => Some(Topic::NoReceiver),
        RefusalCode::HostDocker => Some(Topic::ServerDocker),
        RefusalCode::HostDisk => Some(Topic::DiskFull),
        RefusalCode::IdTaken
        | RefusalCode::Malformed
        | RefusalCode::Labels
        | RefusalCode::Busy
        | RefusalCode::HostState
        | RefusalCode::Host => None,
    }
}

fn of_failure(code: FailureCode) -> Option<Topic> {
    match code {
        FailureCode::NoImage => Some(Topic::NoImage),
        FailureCode::PullRefused => Some(Topic::PullRefused),
        FailureCode::RegistryLimit => Some(Topic::RegistryLimit),
        FailureCode::ImageHealthCheck => Some(Topic::AppFile),
        // What cannot even be started is as broken as what ends at once.
        FailureCode::DoesNotStart | FailureCode::Exited | FailureCode::Unhealthy => Some(Topic::Unhealthy),
        FailureCode::SmokeTest => Some(Topic::SmokeTest),
        FailureCode::PortInUse => Some(Topic::PortInUse),
        FailureCode::DiskFull => Some(Topic::DiskFull),
        FailureCode::DockerUnavailable => Some(Topic::ServerDocker),
        FailureCode::ProxyUnavailable => Some(Topic::NoReceiver),
        FailureCode::RegistryUnreachable
        | FailureCode::Platform
        | FailureCode::ImageLabels
        | FailureCode::ImageVolume
        | FailureCode::ContainerGone
        | FailureCode::Cut
        | FailureCode::Docker
        | FailureCode::Proxy
        | FailureCode::Interrupted
        | FailureCode::Storage => None,
    }
}

/// What the one who runs the action can do, or ask the server's owner to.
pub fn remedy(end: &End) -> &'static str {
    if let End::Unknown(_) = end {
        return "update the action (`uses:`) to the newest release, and ask by `command: status` what runs";
    }
    if let End::Failed { code: Open::Known(FailureCode::ImageHealthCheck), .. } = end {
        return "have the server's owner add `health: {path: /healthz}` to the app file (`health: none` for \
                what cannot be \
                asked), and run the job again";
    }
    match topic(end) {
        Some(Topic::NewerIsLive) => not_rising(end),
        Some(topic) => of_settings(topic)
            .or_else(|| of_server(topic))
            .or_else(|| of_image(topic))
            .unwrap_or_else(|| otherwise(end)),
        None => otherwise(end),
    }
}

/// Where the two sides were set up differently.
fn of_settings(topic: Topic) -> Option<&'static str> {
    let remedy = match topic {
        Topic::Protocol => {
            "update the side that the message names: the action by `uses:`, the receiver by installing the \
             newest one \
             and `systemctl restart autotag`"
        }
        Topic::NoApplication => {
            "let `deploy-app` and `deploy-user` name an application that `autotag-receiver status` on the \
             server \
             lists; `autotag-receiver init APP` makes one"
        }
        Topic::OtherImage => {
            "let the input `image` be the one that the app file allows, or have the server's owner change \
             `image` in \
             /etc/autotag/APP.yaml"
        }
        Topic::Variable => {
            "leave the variable out of `deploy-environment`, or have the server's owner add it to \
             `allow_environment` \
             in /etc/autotag/APP.yaml"
        }
        Topic::AppFile => {
            "have the server's owner fix /etc/autotag/APP.yaml (`autotag-receiver check` lists the errors), \
             then run the job again"
        }
        Topic::NotRecorded => {
            "choose a `version` that `autotag-receiver history` on the server lists, or take another there \
             by \
             `command: deploy` with `version` and `deploy-allow-downgrade: true`"
        }
        _ => return None,
    };
    Some(remedy)
}

/// Where the machine stands in the way.
fn of_server(topic: Topic) -> Option<&'static str> {
    let remedy = match topic {
        Topic::Unfinished => {
            "look at the server: `autotag-receiver status` says what is blocking it, `journalctl -u \
             autotag` why; then \
             run the job again"
        }
        Topic::NoReceiver => {
            "start it on the server: `systemctl start autotag autotag-proxy`; `autotag-receiver check` \
             names what else \
             is wrong"
        }
        Topic::DiskFull => {
            "free some of the server's disk (`docker system df`, `docker image prune --all`), and run the \
             job again"
        }
        Topic::ServerDocker => {
            "start Docker on the server (`systemctl start docker`), and run the job again; `journalctl -u \
             docker` says \
             why it stopped"
        }
        Topic::PortInUse => {
            "on the server `ss -ltnp` shows who has the port: stop that program, or give `listen` in the \
             app file \
             another one; then run the job again"
        }
        _ => return None,
    };
    Some(remedy)
}

/// Where the image does not come, or what is in it does not work.
fn of_image(topic: Topic) -> Option<&'static str> {
    let remedy = match topic {
        Topic::RegistryLimit => {
            "wait until the registry takes requests again, and run the job again; log the server in at the \
             registry, \
             which raises the limit: `docker login` as root"
        }
        Topic::NoImage => {
            "deploy a version that the registry still has; if a clean-up rule removed it, exempt version \
             tags from that rule"
        }
        Topic::PullRefused => {
            "pass `deploy-registry-username: ${{ github.actor }}` and `deploy-registry-password: ${{ \
             github.token }}`, \
             with `packages: read` under the job's `permissions:` (another registry: an account that may read), or \
             log the server in: `docker login` as root"
        }
        Topic::Unhealthy => {
            "read the container's last lines in the log above, fix the application, and release a new \
             version; if it only starts slowly, raise `health: {deadline: ...}` in the app file"
        }
        Topic::SmokeTest => {
            "fix the application and release a new version, or correct `smoke` in the app file and run the \
             job again"
        }
        _ => return None,
    };
    Some(remedy)
}

/// About a version that does not rise, where nothing newer serves.
fn not_rising(end: &End) -> &'static str {
    match end {
        End::Refused { code: Open::Known(RefusalCode::Downgrade), .. } => {
            "release a new version; or have the server's owner deploy this one (`autotag-receiver deploy \
             APP VERSION \
             --allow-downgrade`) or set `allow_downgrade: true` in /etc/autotag/APP.yaml"
        }
        _ => {
            "release a new version, which is above all that were live; if you mean exactly this one, set \
             `deploy-allow-downgrade: true`; if the highest version was a mistake, have the server's owner run \
             `autotag-receiver reset-highest APP`"
        }
    }
}

fn otherwise(end: &End) -> &'static str {
    match end {
        End::Refused { code, .. } => refused(code.known()),
        End::Failed { code, .. } => failed(code.known()),
        End::Deployed {} | End::Unchanged {} | End::RolledBack {} | End::Reported {} | End::Unknown(_) => {
            "there is nothing to do"
        }
    }
}

fn refused(code: Option<RefusalCode>) -> &'static str {
    match code {
        Some(RefusalCode::Labels) => {
            "deploy an image that this action built, under its own version and commit"
        }
        Some(RefusalCode::IdTaken) => "run the job again: it takes a new id",
        Some(RefusalCode::Busy) => {
            "wait until the server has finished what it is doing, and run the job again"
        }
        Some(RefusalCode::HostState | RefusalCode::Host) => {
            "check the server, as the message says, and run the job again"
        }
        _ => "see the message; if it makes no sense, report a bug",
    }
}

fn failed(code: Option<FailureCode>) -> &'static str {
    match code {
        Some(FailureCode::Platform) => "build the image for the server's platform: set the input `platforms`",
        Some(FailureCode::ImageLabels) => {
            "deploy an image that this action built, under its own version and commit"
        }
        Some(FailureCode::ImageVolume) => {
            "mount a volume there by `volumes` in the app file, as the message says, and run the job again"
        }
        Some(FailureCode::ContainerGone) => "run the job again, and leave the container to the receiver",
        Some(FailureCode::Interrupted) => "run the job again",
        Some(FailureCode::RegistryUnreachable) => {
            "make sure that the server reaches the registry (network, DNS, firewall), and run the job again"
        }
        Some(FailureCode::Storage | FailureCode::Docker | FailureCode::Proxy) => {
            "check the server, as the message says, and run the job again"
        }
        _ => {
            "fix what the message names and release a new version, or run the job again if it was the \
             server's fault"
        }
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray as _;

    use super::*;

    fn refused(code: RefusalCode) -> End {
        End::Refused { code: code.into(), message: String::new() }
    }

    fn failed(code: FailureCode) -> End {
        End::Failed { step: crate::RolloutStep::Pull.into(), code: code.into(), message: String::new() }
    }

    /// Every code has something that can be done, and those with a section of the documentation lead there.
    #[test]
    fn each_code_has_its_section_and_its_remedy() {
        let ends: Vec<(&str, End)> = RefusalCode::VARIANTS
            .iter()
            .map(|code| (code.as_str(), refused(*code)))
            .chain(FailureCode::VARIANTS.iter().map(|code| (code.as_str(), failed(*code))))
            .collect();
        let line = |(code, end): &(&str, End)| {
            format!("{code}: {}\n    {}", topic(end).map_or("-", Topic::heading), remedy(end))
        };
        let table: Vec<String> = ends.iter().map(line).collect();
        let table = table.join("\n");
        insta::assert_snapshot!("remedies", table);
        assert_eq!(topic(&End::Deployed {}), None);
    }
}
