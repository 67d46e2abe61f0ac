//! GitHub's answers, as far as they are read. Fields are those of GitHub's OpenAPI description.

use serde::Deserialize;

use crate::ports;
use autotag_model::git::ObjectId;

#[derive(Deserialize)]
pub(super) struct RepositoryAnswer {
    pub node_id: String,
    pub default_branch: String,
    pub html_url: String,
}

#[derive(Deserialize)]
pub(super) struct GitRefAnswer {
    #[serde(rename = "ref")]
    pub name: String,
    pub object: GitObject,
}

#[derive(Deserialize)]
pub(super) struct GitObject {
    #[serde(rename = "type")]
    pub kind: String,
    pub sha: ObjectId,
}

#[derive(Deserialize)]
pub(super) struct TagObjectAnswer {
    pub sha: ObjectId,
    pub tag: String,
    pub message: String,
    pub object: GitObject,
}

#[derive(Deserialize)]
pub(super) struct Comparison {
    pub status: String,
    #[serde(default)]
    pub commits: Vec<CommitAnswer>,
}

#[derive(Deserialize)]
pub(super) struct CommitAnswer {
    pub sha: ObjectId,
    pub commit: CommitFacts,
}

#[derive(Deserialize)]
pub(super) struct CommitFacts {
    pub message: String,
    pub committer: Option<Committer>,
}

#[derive(Deserialize)]
pub(super) struct Committer {
    pub date: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ReleaseAnswer {
    pub id: u64,
    pub tag_name: String,
    pub name: Option<String>,
    pub body: Option<String>,
    pub draft: bool,
    pub prerelease: bool,
    pub html_url: String,
}

impl From<ReleaseAnswer> for ports::Release {
    fn from(release: ReleaseAnswer) -> Self {
        Self {
            id: release.id,
            tag: release.tag_name,
            name: release.name.unwrap_or_default(),
            body: release.body.unwrap_or_default(),
            draft: release.draft,
            prerelease: release.prerelease,
            html_url: release.html_url,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Notes {
    pub body: String,
}

/// Something that was made, as far as its number.
#[derive(Deserialize)]
pub(super) struct Numbered {
    pub id: u64,
}

/// The body of a refusal: `message`, and for 422 a list of `errors` that are objects or texts.
#[derive(Deserialize)]
pub struct RefusalAnswer {
    message: String,
    #[serde(default)]
    errors: Vec<serde_json::Value>,
}

impl RefusalAnswer {
    /// GitHub's words; those of whatever stands before it where the body is not GitHub's.
    pub fn words(body: &[u8]) -> String {
        let Ok(refusal) = serde_json::from_slice::<Self>(body) else {
            return String::from_utf8_lossy(body).into_owned();
        };
        let details = refusal.errors.iter().map(|error| {
            let field = |name: &str| error.get(name).and_then(serde_json::Value::as_str);
            match (error.as_str(), field("message"), field("field"), field("code")) {
                (Some(text), ..) | (None, Some(text), ..) => text.to_owned(),
                (None, None, Some(name), Some(code)) => format!("{name}: {code}"),
                _ => error.to_string(),
            }
        });
        let details: Vec<String> = details.collect();
        if details.is_empty() {
            refusal.message
        } else {
            format!("{} ({})", refusal.message, details.join("; "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_speak() {
        for (body, words) in [
            (r#"{"message":"Bad credentials","status":"401"}"#, "Bad credentials"),
            (
                r#"{"message":"Validation Failed","errors":[{"resource":"Release","code":"already_exists","field":"tag_name"}]}"#,
                "Validation Failed (tag_name: already_exists)",
            ),
            (r#"{"message":"No","errors":["because","so"]}"#, "No (because; so)"),
            ("<html>gateway</html>", "<html>gateway</html>"),
        ] {
            assert_eq!(RefusalAnswer::words(body.as_bytes()), words);
        }
    }
}
