//! A registry's error answers, and what the user can do about each.

use ::http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::access::Permission;
use crate::adapters::http_error;
use crate::adapters::retry::Idempotency;
use autotag_base::{CallError, CallErrorKind};
use autotag_model::help::Topic;
use autotag_model::reference::ImageName;

/// What an error answer says (distribution specification, "Error Codes").
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Complaint {
    /// The codes, in capitals as the specification has them; none where the body is no error list.
    codes: Vec<String>,
    /// All of it in words; a body that is no error list as it stands.
    pub words: String,
}

#[derive(Deserialize)]
struct ErrorList {
    errors: Vec<ErrorEntry>,
}

#[derive(Deserialize)]
struct ErrorEntry {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    detail: serde_json::Value,
}

impl Complaint {
    /// Reads the body of an error answer; any body will do.
    pub fn read(body: &[u8]) -> Self {
        let Ok(list) = serde_json::from_slice::<ErrorList>(body) else {
            let text = String::from_utf8_lossy(body);
            let page = text.trim_start().starts_with('<');
            return Self {
                codes: Vec::new(),
                words: if page { "an HTML page".to_owned() } else { http_error::excerpt(&text) },
            };
        };
        let words = list.errors.iter().map(|entry| {
            let detail = entry.detail.as_str().unwrap_or_default();
            let parts = [entry.code.as_str(), entry.message.as_deref().unwrap_or_default(), detail];
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
        });
        let words = http_error::excerpt(&words.collect::<Vec<_>>().join("; "));
        Self { codes: list.errors.into_iter().map(|entry| entry.code.to_ascii_uppercase()).collect(), words }
    }

    /// Whether the registry itself speaks of something that it does not have.
    ///
    /// Harbor says `NOT_FOUND` where the specification has a code for each kind. A 404 without such a
    /// code comes from something else (a proxy, a wrong host) and says nothing about the registry.
    pub fn is_absence(&self) -> bool {
        const ABSENT: [&str; 4] = ["NAME_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN", "NOT_FOUND"];
        self.codes.iter().any(|code| ABSENT.contains(&code.as_str()))
    }

    fn has(&self, code: &str) -> bool {
        self.codes.iter().any(|other| other == code)
    }

    fn speaks_of(&self, word: &str) -> bool {
        self.words.to_ascii_lowercase().contains(word)
    }
}

/// Who asked whom: what a remedy depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parties {
    /// The image's repository.
    pub name: ImageName,
    /// Whether the job gave credentials for it.
    pub with_credentials: bool,
}

impl Parties {
    /// The error of an error answer, with its remedy where there is one.
    pub fn refusal(
        &self,
        doing: &str,
        status: StatusCode,
        headers: &HeaderMap,
        complaint: &Complaint,
        (repeat, access): (Idempotency, Permission),
    ) -> CallError {
        let call_error = http_error::from_status(doing, status, headers, &complaint.words, repeat);
        if status.is_client_error() && is_immutable(complaint) {
            return CallError { kind: CallErrorKind::Rejected, ..call_error }
                .with_remedy(
                    "exempt `latest` and other moving tags from the registry's rule (ECR: an exclusion \
                     filter), or \
                     turn it off; a version's own tag is never moved by this action",
                )
                .about(Topic::ImmutableTags);
        }
        let blob_unknown = complaint.has("MANIFEST_BLOB_UNKNOWN") || complaint.has("BLOB_UNKNOWN");
        if status.is_client_error() && blob_unknown {
            return call_error.with_remedy(
                "a layer or an image that the manifest names is not in this repository any more (a clean-up \
                 rule?): \
                 run the job again, which builds and pushes it again",
            );
        }
        let denied = complaint.has("DENIED") || complaint.has("UNAUTHORIZED");
        let denied = status.is_client_error() && call_error.kind == CallErrorKind::Rejected && denied;
        let kind = if denied { CallErrorKind::Denied } else { call_error.kind };
        self.explain(CallError { kind, ..call_error }, access)
    }

    /// The same error with what to do about it, by its kind and by the words in it, which may have come
    /// through Docker.
    pub fn explain(&self, call_error: CallError, access: Permission) -> CallError {
        let words = call_error.why.to_ascii_lowercase();
        if call_error.kind == CallErrorKind::Throttled {
            let who = if self.with_credentials {
                "if this happens often, ask the registry for a higher limit"
            } else {
                "and set `registry-username` and `registry-password`: logged-in clients have a higher limit"
            };
            let remedy = format!("run the job again when the limit is over, {who}");
            return call_error.with_remedy(remedy).about(Topic::RegistryLimit);
        }
        if is_full(&words) {
            let remedy = format!(
                "remove unused images from {}, or get more space (a larger quota, a larger disk); then run \
                 the job again",
                self.name.registry()
            );
            // Waiting makes no room, so what is written is refused for good. What is read is not refused by that: a
            // list that is not given for want of room is a failed list.
            let kind = if access == Permission::Push { CallErrorKind::Denied } else { call_error.kind };
            return CallError { kind, ..call_error }.with_remedy(remedy).about(Topic::RegistryFull);
        }
        if call_error.kind != CallErrorKind::Denied {
            return call_error;
        }
        let (remedy, topic) = self.denied(&words, access);
        call_error.with_remedy(remedy).about(topic)
    }

    /// What to do about a refusal of the credentials, or of their lack.
    fn denied(&self, words: &str, access: Permission) -> (String, Topic) {
        let registry = self.name.registry();
        // GitHub's own words for a package that belongs to no repository, to another one, or to none yet.
        let not_linked = words.contains("permission_denied");
        let may_not_create = words.contains("installation not allowed");
        if not_linked && access == Permission::Push {
            let remedy = "open the package's settings on GitHub, add this repository under \"Manage Actions \
                          access\" \
                          with the role Write, and check that this job has `packages: write` under \
                          `permissions:`";
            return (remedy.to_owned(), Topic::NotLinked);
        }
        if registry == "ghcr.io" || not_linked || may_not_create {
            let login = if self.with_credentials {
                ""
            } else {
                "leave `registry-username` and `registry-password` out, so that the job's own token is \
                 used, and "
            };
            let right = if access == Permission::Push { "packages: write" } else { "packages: read" };
            let remedy = format!(
                "{login}add the line `{right}` to this job's `permissions:` in the workflow; a package that \
                 exists \
                 already must also list this repository in its settings, under \"Manage Actions access\""
            );
            return (remedy, Topic::MayNotPush);
        }
        if !self.with_credentials {
            let remedy = format!(
                "set the inputs `registry-username` and `registry-password` to an account of {registry} \
                 that may {} {}",
                if access == Permission::Push { "push to" } else { "read" },
                self.name.repository()
            );
            return (remedy, Topic::RegistryLogin);
        }
        let hint = match registry {
            "docker.io" => "Docker Hub wants the account's name and an access token with Read & Write",
            _ if registry.ends_with(".amazonaws.com") => {
                "on ECR the user is `AWS`, the password lasts 12 hours, and the repository must exist \
                 before a push"
            }
            _ if registry.ends_with(".pkg.dev") => {
                "the user is `oauth2accesstoken`, and its password lasts an hour"
            }
            _ if access == Permission::Push => {
                "that account must be able to log in, and to push to this repository"
            }
            _ => "that account must be able to log in, and to read this repository",
        };
        let remedy = format!("correct the inputs `registry-username` and `registry-password`: {hint}");
        (remedy, Topic::RegistryLogin)
    }
}

/// No room, in the words of registries and of those who keep their files. (A quota of requests is a rate limit,
/// which is told apart before.)
fn is_full(words: &str) -> bool {
    // The words of 507 itself are the first.
    ["insufficient storage", "no space left", "quota", "storage limit", "configured upper limit"]
        .iter()
        .any(|known| words.contains(known))
}

/// ECR says TAG_INVALID, Harbor 412, Artifact Registry MANIFEST_INVALID; all of them use the word.
fn is_immutable(complaint: &Complaint) -> bool {
    complaint.speaks_of("immutab") || (complaint.has("TAG_INVALID") && complaint.speaks_of("already exists"))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    const PUTTING: (Idempotency, Permission) = (Idempotency::Idempotent, Permission::Push);

    #[test]
    fn complaints_are_read_in_every_form() {
        for (body, words, absent) in [
            ("", "", false),
            ("404 page not found\n", "404 page not found", false),
            ("<html><h1>Login</h1>", "an HTML page", false),
            ("{}", "{}", false),
            (r#"{"errors":[]}"#, "", false),
            (
                r#"{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry","detail":{"name":"a"}}]}"#,
                "NAME_UNKNOWN: repository name not known to registry",
                true,
            ),
            (
                r#"{"errors":[{"code":"NOT_FOUND","message":"artifact a:1 not found"}]}"#,
                "NOT_FOUND: artifact a:1 not found",
                true,
            ),
            (
                r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown to registry","detail":"sha256:0"},{"message":"x"}]}"#,
                "MANIFEST_BLOB_UNKNOWN: blob unknown to registry: sha256:0; x",
                false,
            ),
            (r#"{"errors":[{"code":"manifest_unknown","message":null}]}"#, "manifest_unknown", true),
        ] {
            let complaint = Complaint::read(body.as_bytes());
            assert_eq!((complaint.words.as_str(), complaint.is_absence()), (words, absent), "{body}");
        }
    }

    #[test]
    fn each_refusal_names_its_remedy() {
        let ecr = "1.dkr.ecr.eu-west-1.amazonaws.com/a";
        let mut table = String::new();
        for (name, with_credentials, status, code, message) in [
            ("reg.example/a", false, 401, "UNAUTHORIZED", "no"),
            ("reg.example/a", true, 401, "", ""),
            ("reg.example/a", true, 400, "DENIED", "no"),
            ("docker.io/org/a", true, 403, "DENIED", "no"),
            (ecr, true, 403, "DENIED", "no"),
            ("ghcr.io/o/a", false, 401, "UNAUTHORIZED", "no"),
            ("ghcr.io/o/a", true, 403, "DENIED", "denied"),
            ("ghcr.io/o/a", true, 403, "DENIED", "permission_denied: write_package"),
            (
                ecr,
                true,
                400,
                "TAG_INVALID",
                "The image tag '1.0' already exists and the repository is immutable.",
            ),
            ("harbor.example/p/a", true, 412, "PRECONDITION", "configured as immutable"),
            ("reg.example/a", true, 404, "MANIFEST_BLOB_UNKNOWN", "x"),
        ] {
            let parties = Parties { name: name.parse().expect(name), with_credentials };
            let body = format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#);
            let complaint = Complaint::read(if code.is_empty() { b"" } else { body.as_bytes() });
            let status = StatusCode::from_u16(status).expect("a status");
            let error = parties.refusal("putting", status, &HeaderMap::new(), &complaint, PUTTING);
            let login = if with_credentials { "with a login" } else { "without a login" };
            writeln!(
                table,
                "{name} {login}, {status} {code} {message}: {:?}\n    {}",
                error.kind,
                error.remedy.unwrap_or_default()
            )
            .expect("it is written");
        }
        insta::assert_snapshot!("remedies", table);
    }

    /// In the words of a registry itself, and as Docker hands them on.
    #[test]
    fn each_refusal_has_its_section() {
        use CallErrorKind::{Denied, Rejected, Throttled, Unreachable};
        use Topic::{MayNotPush, NotLinked, RegistryFull, RegistryLimit, RegistryLogin};
        for (name, kind, words, access, topic) in [
            ("ghcr.io/o/a", Denied, "denied: denied", Permission::Push, Some(MayNotPush)),
            (
                "ghcr.io/o/a",
                Denied,
                "denied: permission_denied: write_package",
                Permission::Push,
                Some(NotLinked),
            ),
            (
                "ghcr.io/o/a",
                Denied,
                "denied: permission_denied: read_package",
                Permission::Pull,
                Some(MayNotPush),
            ),
            (
                "containers.ghes.example/o/a",
                Denied,
                "denied: installation not allowed to Create organization package",
                Permission::Push,
                Some(MayNotPush),
            ),
            ("r.example/a", Denied, "no basic auth credentials", Permission::Push, Some(RegistryLogin)),
            (
                "r.example/a",
                Unreachable,
                "500: write /x: no space left on device",
                Permission::Push,
                Some(RegistryFull),
            ),
            ("r.example/a", Denied, "403: denied: quota exceeded", Permission::Push, Some(RegistryFull)),
            ("r.example/a", Throttled, "429: quota of requests", Permission::Pull, Some(RegistryLimit)),
            ("r.example/a", Unreachable, "503 Service Unavailable", Permission::Push, None),
            ("r.example/a", Rejected, "manifest invalid", Permission::Push, None),
        ] {
            let parties = Parties { name: name.parse().expect(name), with_credentials: true };
            let error = parties.explain(CallError::new(kind, "pushing", words), access);
            assert_eq!(error.topic, topic, "{words}");
            assert_eq!(error.remedy.is_some(), topic.is_some(), "{words}");
        }
    }

    #[test]
    fn no_room_is_no_outage() {
        let parties = Parties { name: "r.example/a".parse().expect("a name"), with_credentials: true };
        let error = parties.refusal(
            "x",
            StatusCode::INSUFFICIENT_STORAGE,
            &HeaderMap::new(),
            &Complaint::default(),
            PUTTING,
        );
        // 507 by itself says it; trying again would not help.
        assert_eq!((error.kind, error.topic), (CallErrorKind::Denied, Some(Topic::RegistryFull)));
    }

    #[test]
    fn a_rate_limit_is_no_refusal_of_the_credentials() {
        let parties = Parties { name: "a".parse().expect("a name"), with_credentials: true };
        let complaint = Complaint::read(br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#);
        let error =
            parties.refusal("x", StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new(), &complaint, PUTTING);
        assert_eq!((error.kind, error.topic), (CallErrorKind::Throttled, Some(Topic::RegistryLimit)));
    }
}
