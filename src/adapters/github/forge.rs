//! The calls of [`Forge`], one after another as the trait lists them.

use std::fmt::Write as _;

use serde_json::json;

use super::GitHub;
use super::answers;
use super::client::{Call, Send};
use crate::adapters::retry::Idempotency;
use crate::ports::{
    Ancestry, Commit, DeploymentStatus, Forge, GitRef, NewDeployment, NewRelease, RefUpdate, RefsAnswer,
    Release, ReleaseEdit, Repository, TagObject,
};
use autotag_base::{CallError, CallErrorKind, CallResult};
use autotag_model::git::{ObjectId, RefName};

/// Refs are asked for by this mutation (GraphQL reference, `updateRefs`). `force` is needed where the head
/// moves: it points at tag objects, between which there is no fast-forward.
const UPDATE_REFS: &str =
    "mutation($input: UpdateRefsInput!) { updateRefs(input: $input) { clientMutationId } }";

/// A draft by its tag (GraphQL reference, `Repository.release`).
const DRAFT_OF: &str = "query($owner: String!, $name: String!, $tag: String!) { repository(owner: $owner, \
                        name: $name) \
                        { release(tagName: $tag) { databaseId isDraft } } }";

impl Forge for GitHub {
    async fn repository(&self) -> CallResult<Repository> {
        let found: answers::RepositoryAnswer = self.get("reading the repository", "").await?;
        Ok(Repository {
            node_id: found.node_id,
            default_branch: found.default_branch,
            html_url: found.html_url,
        })
    }

    async fn commit(&self, id: &ObjectId) -> CallResult<Commit> {
        let doing = format!("reading the commit {id}");
        let found: answers::CommitAnswer = self.get(&doing, &format!("/commits/{id}?per_page=1")).await?;
        let date = found.commit.committer.and_then(|committer| committer.date);
        let date = date
            .ok_or_else(|| CallError::new(CallErrorKind::InvalidResponse, doing, "the commit has no date"))?;
        Ok(Commit { id: found.sha, message: found.commit.message, date })
    }

    async fn read_ref(&self, name: &RefName) -> CallResult<Option<GitRef>> {
        let doing = format!("reading the ref {name}");
        let found: Option<answers::GitRefAnswer> =
            self.find(&doing, &format!("/git/ref/{}", escaped(name.without_refs()))).await?;
        found.map(|found| git_ref(&doing, found)).transpose()
    }

    async fn list_tags(&self, prefix: &str) -> CallResult<Vec<GitRef>> {
        let doing = match prefix {
            "" => "listing the Git tags".to_owned(),
            prefix => format!("listing the Git tags that begin with {prefix:?}"),
        };
        let path = format!("/git/matching-refs/tags/{}?per_page=100", escaped(prefix));
        let found: Vec<answers::GitRefAnswer> =
            self.list(&doing, &path, |page| serde_json::from_value(page).ok()).await?;
        found.into_iter().map(|found| git_ref(&doing, found)).collect()
    }

    async fn tag_object(&self, id: &ObjectId) -> CallResult<Option<TagObject>> {
        let found: Option<answers::TagObjectAnswer> =
            self.find(&format!("reading the tag object {id}"), &format!("/git/tags/{id}")).await?;
        Ok(found.map(|found| TagObject {
            id: found.sha,
            tag: found.tag,
            message: found.message,
            targets_commit: found.object.kind == "commit",
            target: found.object.sha,
        }))
    }

    async fn compare(&self, base: &ObjectId, head: &ObjectId) -> CallResult<Ancestry> {
        let doing = format!("comparing {} with {}", base.short(), head.short());
        // Files are listed on the first page only; the second is enough for the verdict.
        let path = format!("/compare/{base}...{head}?per_page=1&page=2");
        let Some(found) = self.related::<answers::Comparison>(&doing, &path).await? else {
            return Ok(Ancestry::Diverged);
        };
        found.status.parse().map_err(|_| {
            let why = format!("the status {:?} is not one that GitHub documents", found.status);
            CallError::new(CallErrorKind::InvalidResponse, doing, why)
        })
    }

    async fn messages_between(&self, base: &ObjectId, head: &ObjectId) -> CallResult<Vec<String>> {
        let doing = format!("reading the commits from {} to {}", base.short(), head.short());
        // Histories without a common commit have no commits between them.
        let first = format!("/compare/{base}...{head}?per_page=1");
        if self.related::<answers::Comparison>(&doing, &first).await?.is_none() {
            return Ok(Vec::new());
        }
        let commits: Vec<answers::CommitAnswer> = self
            .list(&doing, &format!("/compare/{base}...{head}?per_page=100"), |page| {
                serde_json::from_value::<answers::Comparison>(page).ok().map(|page| page.commits)
            })
            .await?;
        Ok(commits.into_iter().map(|commit| commit.commit.message).collect())
    }

    /// Generated notes are kept nowhere, and GitHub generates them only for who may write.
    async fn may_write(&self, tag: &str, commit: &ObjectId) -> CallResult<()> {
        let body = json!({ "tag_name": tag, "target_commitish": commit });
        let doing = "asking whether the token may write";
        let call = Call { doing, repeat: Idempotency::Read, send: Send::Post(&body) };
        self.permitted(call, "/releases/generate-notes").await
    }

    async fn create_tag_object(&self, tag: &str, message: &str, commit: &ObjectId) -> CallResult<ObjectId> {
        let body = json!({ "tag": tag, "message": message, "object": commit, "type": "commit" });
        let doing = format!("making the tag object of {tag}");
        // A second object that no ref names does no harm, so a lost answer is simply asked for again.
        let call = Call { doing: &doing, repeat: Idempotency::Idempotent, send: Send::Post(&body) };
        let made: answers::TagObjectAnswer = self.write(call, "/git/tags").await?;
        Ok(made.sha)
    }

    async fn update_refs(&self, updates: &[RefUpdate]) -> CallResult<RefsAnswer> {
        let repository = self.repository().await?;
        let updates: Vec<serde_json::Value> = updates
            .iter()
            .map(|update| {
                json!({
                    "name": update.name.as_str(),
                    "beforeOid": update.before,
                    "afterOid": update.after,
                    "force": true,
                })
            })
            .collect();
        let body = json!({
            "query": UPDATE_REFS,
            "variables": { "input": { "repositoryId": repository.node_id, "refUpdates": updates } },
        });
        let doing = "moving the refs by updateRefs";
        let call = Call { doing, repeat: Idempotency::OnlyIfUntouched, send: Send::Post(&body) };
        refs_answer(doing, &self.graphql(call).await?)
    }

    async fn generate_notes(&self, tag: &str, previous: Option<&str>) -> CallResult<String> {
        let mut body = json!({ "tag_name": tag });
        if let Some(previous) = previous {
            body["previous_tag_name"] = json!(previous);
        }
        let doing = format!("generating the notes of {tag}");
        let call = Call { doing: &doing, repeat: Idempotency::Idempotent, send: Send::Post(&body) };
        let notes: answers::Notes = self.write(call, "/releases/generate-notes").await?;
        Ok(notes.body)
    }

    async fn release_of(&self, tag: &str) -> CallResult<Option<Release>> {
        let found: Option<answers::ReleaseAnswer> = self
            .find(&format!("reading the release {tag}"), &format!("/releases/tags/{}", escaped(tag)))
            .await?;
        Ok(found.map(Into::into))
    }

    async fn draft_of(&self, tag: &str) -> CallResult<Option<Release>> {
        let doing = format!("looking for a draft of the release {tag}");
        let (owner, name) = self.owner_and_name();
        let body = json!({
            "query": DRAFT_OF,
            "variables": { "owner": owner, "name": name, "tag": tag },
        });
        let call = Call { doing: &doing, repeat: Idempotency::Read, send: Send::Post(&body) };
        let Some(id) = draft_in(&doing, &self.graphql(call).await?)? else { return Ok(None) };
        let found: Option<answers::ReleaseAnswer> = self.find(&doing, &format!("/releases/{id}")).await?;
        // It may have been published or deleted since.
        Ok(found.map(Release::from).filter(|release| release.draft && release.tag == tag))
    }

    async fn shown_as_latest(&self) -> CallResult<Option<String>> {
        let found: Option<answers::ReleaseAnswer> =
            self.find("reading which release is shown as Latest", "/releases/latest").await?;
        Ok(found.map(|found| found.tag_name))
    }

    async fn create_release(&self, release: &NewRelease) -> CallResult<Release> {
        let body = json!({
            "tag_name": release.tag,
            "name": release.name,
            "body": release.body,
            "draft": release.draft,
            "prerelease": false,
            // A text, by GitHub's description, not a boolean.
            "make_latest": if release.make_latest { "true" } else { "false" },
        });
        let doing = format!("creating the release {}", release.tag);
        let call = Call { doing: &doing, repeat: Idempotency::OnlyIfUntouched, send: Send::Post(&body) };
        let made: answers::ReleaseAnswer = self.write(call, "/releases").await?;
        Ok(made.into())
    }

    async fn edit_release(&self, id: u64, edit: &ReleaseEdit) -> CallResult<Release> {
        let mut body = json!({});
        if let Some(text) = &edit.body {
            body["body"] = json!(text);
        }
        if let Some(latest) = edit.make_latest {
            body["make_latest"] = json!(latest.to_string());
        }
        let doing = format!("editing the release with the id {id}");
        let call = Call { doing: &doing, repeat: Idempotency::Idempotent, send: Send::Patch(&body) };
        let edited: answers::ReleaseAnswer = self.write(call, &format!("/releases/{id}")).await?;
        Ok(edited.into())
    }

    async fn create_deployment(&self, deployment: &NewDeployment) -> CallResult<u64> {
        let body = json!({
            "ref": deployment.commit,
            "environment": deployment.environment,
            "description": described(&deployment.description),
            // Else GitHub merges the default branch into the ref, and waits for checks.
            "auto_merge": false,
            "required_contexts": [],
        });
        let doing = format!("recording the deployment to {}", deployment.environment);
        let call = Call { doing: &doing, repeat: Idempotency::OnlyIfUntouched, send: Send::Post(&body) };
        let made: answers::Numbered = self.write(call, "/deployments").await.map_err(allow_deployments)?;
        Ok(made.id)
    }

    async fn add_deployment_status(&self, id: u64, status: &DeploymentStatus) -> CallResult<()> {
        let mut body = json!({
            "state": <&str>::from(status.state),
            "description": described(&status.description),
        });
        if let Some(url) = &status.log_url {
            body["log_url"] = json!(url);
        }
        if let Some(url) = &status.environment_url {
            body["environment_url"] = json!(url);
        }
        let doing = format!("recording the result of the deployment {id}");
        // The newest one counts, so that the same one twice says the same.
        let call = Call { doing: &doing, repeat: Idempotency::Idempotent, send: Send::Post(&body) };
        let path = format!("/deployments/{id}/statuses");
        self.write::<answers::Numbered>(call, &path).await.map_err(allow_deployments)?;
        Ok(())
    }
}

/// GitHub takes at most 140 characters.
fn described(text: &str) -> String {
    const LONGEST: usize = 140;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST - 1).chain(['\u{2026}']).collect()
}

/// A job's token has this permission only where the job asks for it, and GitHub's words do not name it.
fn allow_deployments(error: CallError) -> CallError {
    if error.kind == CallErrorKind::Denied {
        error.with_remedy("give the job `permissions: deployments: write`, or leave `environment` empty")
    } else {
        error
    }
}

fn git_ref(doing: &str, found: answers::GitRefAnswer) -> CallResult<GitRef> {
    let name = found.name.parse().map_err(|error| {
        CallError::new(
            CallErrorKind::InvalidResponse,
            doing,
            format!("a ref is called {:?}, expected {error}", found.name),
        )
    })?;
    Ok(GitRef { name, annotated: found.object.kind == "tag", target: found.object.sha })
}

/// GraphQL answers 200 to a refusal, with `errors`; an answer with neither is no answer.
fn refs_answer(doing: &str, answer: &serde_json::Value) -> CallResult<RefsAnswer> {
    if let Some(words) = errors_in(answer) {
        return Ok(RefsAnswer::Refused(words));
    }
    if answer.pointer("/data/updateRefs").is_some_and(|payload| !payload.is_null()) {
        return Ok(RefsAnswer::Applied);
    }
    Err(CallError::new(CallErrorKind::InvalidResponse, doing, "an answer without data and without errors")
        .perhaps_done())
}

/// The number of the draft in an answer to [`DRAFT_OF`], if there is one.
fn draft_in(doing: &str, answer: &serde_json::Value) -> CallResult<Option<u64>> {
    let garbled = |why: &str| CallError::new(CallErrorKind::InvalidResponse, doing, why);
    if let Some(words) = errors_in(answer) {
        return Err(CallError::new(CallErrorKind::Rejected, doing, words));
    }
    let repository = answer.pointer("/data/repository").filter(|repository| repository.is_object());
    let release = repository.and_then(|repository| repository.get("release"));
    match release {
        None => Err(garbled("an answer without the repository and without errors")),
        Some(serde_json::Value::Null) => Ok(None),
        Some(release) => {
            let is_draft = release.get("isDraft").and_then(serde_json::Value::as_bool);
            let id = release.get("databaseId").and_then(serde_json::Value::as_u64);
            match (is_draft, id) {
                (Some(false), _) => Ok(None),
                (Some(true), Some(id)) => Ok(Some(id)),
                _ => Err(garbled("a release without its number, or that does not say whether it is a draft")),
            }
        }
    }
}

/// GraphQL's words of refusal, if there are any.
fn errors_in(answer: &serde_json::Value) -> Option<String> {
    let errors = answer.get("errors")?.as_array().filter(|errors| !errors.is_empty())?;
    let words = errors.iter().filter_map(|error| error.get("message").and_then(serde_json::Value::as_str));
    Some(words.collect::<Vec<_>>().join("; "))
}

/// A ref or tag in a path: octocrab does not escape them. Slashes stay, since GitHub takes refs so.
fn escaped(name: &str) -> String {
    let mut text = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_for_paths() {
        assert_eq!(escaped("autotag/v/head"), "autotag/v/head");
        assert_eq!(escaped("v1#%ä+"), "v1%23%25%C3%A4%2B");
    }

    #[test]
    fn a_draft_is_one_that_says_so() {
        let release =
            |release: serde_json::Value| json!({ "data": { "repository": { "release": release } } });
        let draft = json!({ "databaseId": 7, "isDraft": true });
        for (answer, found) in [
            (release(draft), Ok(Some(7))),
            (release(json!({ "databaseId": 7, "isDraft": false })), Ok(None)),
            (release(serde_json::Value::Null), Ok(None)),
            (release(json!({ "isDraft": true })), Err(CallErrorKind::InvalidResponse)),
            (json!({ "data": { "repository": null } }), Err(CallErrorKind::InvalidResponse)),
            (json!({ "data": null, "errors": [{ "message": "no" }] }), Err(CallErrorKind::Rejected)),
        ] {
            assert_eq!(draft_in("", &answer).map_err(|error| error.kind), found, "{answer}");
        }
    }

    #[test]
    fn only_an_answer_is_an_answer() {
        let applied = json!({ "data": { "updateRefs": { "clientMutationId": null } } });
        assert_eq!(refs_answer("", &applied), Ok(RefsAnswer::Applied));
        let refused = json!({ "data": { "updateRefs": null }, "errors": [{ "message": "no" }, { "message": "never" }] });
        assert_eq!(refs_answer("", &refused), Ok(RefsAnswer::Refused("no; never".to_owned())));
        let empty = refs_answer("", &json!({ "data": { "updateRefs": null } })).unwrap_err();
        assert_eq!(empty.effect, autotag_base::Effect::Unknown);
    }
}
