//! A registry's error answers, and what the user can do about each.

use ::http::{HeaderMap, StatusCode};
use serde::Deserialize;

use crate::image::reference::ImageName;
use crate::world::retry::Repeat;
use crate::world::{Trouble, TroubleKind, wire};

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
                words: if page { "an HTML page".to_owned() } else { wire::excerpt(&text) },
            };
        };
        let words = list.errors.iter().map(|entry| {
            let detail = entry.detail.as_str().unwrap_or_default();
            let parts = [entry.code.as_str(), entry.message.as_deref().unwrap_or_default(), detail];
            parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
        });
        let words = wire::excerpt(&words.collect::<Vec<_>>().join("; "));
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
    /// The trouble of an error answer, with its remedy where there is one.
    pub fn refusal(
        &self,
        doing: &str,
        status: StatusCode,
        headers: &HeaderMap,
        complaint: &Complaint,
        repeat: Repeat,
    ) -> Trouble {
        let mut trouble = wire::from_status(doing, status, headers, &complaint.words, repeat);
        if !status.is_client_error() {
            return trouble;
        }
        if is_immutable(complaint) {
            trouble.kind = TroubleKind::Rejected;
            return trouble.with_remedy(
                "the registry's tags are immutable: exempt `latest` and other moving tags from that rule (ECR: an \
                 exclusion filter), or turn it off; a version's own tag is never moved by this action",
            );
        }
        if trouble.kind == TroubleKind::Denied || complaint.has("DENIED") || complaint.has("UNAUTHORIZED") {
            trouble.kind = TroubleKind::Denied;
            let remedy = self.denied_remedy(complaint);
            return trouble.with_remedy(remedy);
        }
        if complaint.has("MANIFEST_BLOB_UNKNOWN") || complaint.has("BLOB_UNKNOWN") {
            return trouble.with_remedy(
                "a layer or an image that the manifest names is not in this repository any more (a clean-up rule?): \
                 run the job again, which builds and pushes it anew",
            );
        }
        trouble
    }

    /// What to do about a refusal of the credentials, or of their lack.
    pub fn denied_remedy(&self, complaint: &Complaint) -> String {
        let registry = self.name.registry();
        if registry == "ghcr.io" {
            let login = if self.with_credentials {
                "give the job `permissions: packages: write`"
            } else {
                "set the inputs `registry-username` (`github.actor`) and `registry-password` (the job's token), and \
                 give the job `permissions: packages: write`"
            };
            // GHCR's words for a package that belongs to no repository, or to another one.
            let link = if complaint.speaks_of("write_package") || complaint.speaks_of("permission_denied") {
                "the package exists and is not linked to this repository: "
            } else {
                "if the package exists already: "
            };
            return format!(
                "{login}; {link}in its settings, under \"Manage Actions access\", add this repository with the role \
                 Write"
            );
        }
        if !self.with_credentials {
            return "set the inputs `registry-username` and `registry-password`".to_owned();
        }
        let hint = match registry {
            "docker.io" => {
                "Docker Hub wants an access token with Read & Write, and the repository's owner as user"
            }
            _ if registry.ends_with(".amazonaws.com") => {
                "on ECR the user is `AWS`, the password lasts 12 hours, and the repository must exist before a push"
            }
            _ if registry.ends_with(".pkg.dev") => {
                "the user is `oauth2accesstoken`, and its password lasts an hour"
            }
            _ => "that account needs the right to push to this repository",
        };
        format!("check the inputs `registry-username` and `registry-password`: {hint}")
    }
}

/// ECR says TAG_INVALID, Harbor 412, Artifact Registry MANIFEST_INVALID; all of them use the word.
fn is_immutable(complaint: &Complaint) -> bool {
    complaint.speaks_of("immutab") || (complaint.has("TAG_INVALID") && complaint.speaks_of("already exists"))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        use TroubleKind::{Denied, Rejected};
        let body = |code: &str, message: &str| {
            format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#)
        };
        for (name, with_credentials, status, body, kind, remedy) in [
            (
                "reg.example/a",
                false,
                401,
                body("UNAUTHORIZED", "no"),
                Denied,
                "set the inputs `registry-username`",
            ),
            ("reg.example/a", true, 401, String::new(), Denied, "check the inputs `registry-username`"),
            ("reg.example/a", true, 400, body("DENIED", "no"), Denied, "the right to push"),
            ("docker.io/org/a", true, 403, body("DENIED", "no"), Denied, "Read & Write"),
            ("1.dkr.ecr.eu-west-1.amazonaws.com/a", true, 403, body("DENIED", "no"), Denied, "`AWS`"),
            (
                "ghcr.io/o/a",
                false,
                401,
                body("UNAUTHORIZED", "no"),
                Denied,
                "`registry-username` (`github.actor`)",
            ),
            ("ghcr.io/o/a", true, 403, body("DENIED", "denied"), Denied, "packages: write"),
            (
                "ghcr.io/o/a",
                true,
                403,
                body("DENIED", "permission_denied: write_package"),
                Denied,
                "not linked to this repository: in its settings, under \"Manage Actions access\"",
            ),
            (
                "1.dkr.ecr.eu-west-1.amazonaws.com/a",
                true,
                400,
                body(
                    "TAG_INVALID",
                    "The image tag '1.0' already exists in the 'a' repository and cannot be overwritten because the repository is immutable.",
                ),
                Rejected,
                "tags are immutable",
            ),
            (
                "harbor.example/p/a",
                true,
                412,
                body("PRECONDITION", "configured as immutable"),
                Rejected,
                "immutable",
            ),
            (
                "reg.example/a",
                true,
                404,
                body("MANIFEST_BLOB_UNKNOWN", "x"),
                Rejected,
                "builds and pushes it anew",
            ),
        ] {
            let parties = Parties { name: name.parse().expect(name), with_credentials };
            let complaint = Complaint::read(body.as_bytes());
            let status = StatusCode::from_u16(status).expect("a status");
            let trouble =
                parties.refusal("putting", status, &HeaderMap::new(), &complaint, Repeat::Idempotent);
            assert_eq!(trouble.kind, kind, "{name} {body}");
            let given = trouble.remedy.unwrap_or_default();
            assert!(given.contains(remedy), "{name} {body}: {given}");
        }
    }

    #[test]
    fn a_rate_limit_is_no_refusal_of_the_credentials() {
        let parties = Parties { name: "a".parse().expect("a name"), with_credentials: true };
        let complaint = Complaint::read(br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#);
        let trouble =
            parties.refusal("x", StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new(), &complaint, Repeat::Read);
        assert_eq!((trouble.kind, trouble.remedy), (TroubleKind::Throttled, None));
    }
}
