//! Refs, tag objects, commits and comparisons, as GitHub's REST API has them.

use autotag_model::git::ObjectId;
use serde_json::{Value, json};

use super::ancestry;
use super::answers::GithubAnswer;
use super::call::Call;
use super::model::Model;
use super::objects::{Person, TagObject};

/// GET /git/matching-refs/{ref}: everything that starts with it.
pub fn matching_refs(model: &Model, call: &Call) -> GithubAnswer {
    let prefix = format!("refs/{}", call.parameter("ref"));
    let refs = model.listed_refs();
    let found: Vec<_> =
        refs.range(prefix.clone()..).take_while(|(name, _)| name.starts_with(&prefix)).collect();
    let page = call.page(found.len(), call.matching_refs_page.unwrap_or(usize::MAX));
    let shown = found[page.range.clone()].iter();
    let entries = shown.map(|(name, target)| call.urls.git_ref(model, name, target)).collect();
    page.answer(entries)
}

/// GET /git/ref/{ref}.
pub fn get_ref(model: &Model, call: &Call) -> GithubAnswer {
    let name = format!("refs/{}", call.parameter("ref"));
    match model.refs().get(&name) {
        Some(target) => GithubAnswer::new(200, call.urls.git_ref(model, &name, target)),
        None => GithubAnswer::not_found(),
    }
}

/// POST /git/refs: creates, and never moves.
pub fn create_ref(model: &mut Model, call: &Call) -> GithubAnswer {
    let name = call.text("ref").unwrap_or_default();
    if !name.starts_with("refs/") || name.matches('/').count() < 2 {
        return GithubAnswer::refusal(
            422,
            "Reference name must start with 'refs/' and have at least two slashes.",
        );
    }
    if model.refs().contains_key(name) {
        return GithubAnswer::refusal(422, "Reference already exists");
    }
    match call.object("sha") {
        Some(target) if fits(model, name, &target) && Model::misnamed(model.refs(), name).is_none() => {
            model.write_refs(vec![(name.to_owned(), Some(target.clone()))]);
            GithubAnswer::new(201, call.urls.git_ref(model, name, &target))
        }
        _ => GithubAnswer::refusal(422, "Reference update failed"),
    }
}

/// Whether the object exists and can stand under this name: branches hold commits alone.
pub fn fits(model: &Model, name: &str, target: &ObjectId) -> bool {
    match model.kind(target) {
        Some("commit") => true,
        Some(_) => !name.starts_with("refs/heads/"),
        None => false,
    }
}

/// PATCH /git/refs/{ref}.
pub fn update_ref(model: &mut Model, call: &Call) -> GithubAnswer {
    let name = format!("refs/{}", call.parameter("ref"));
    let Some(current) = model.refs().get(&name).cloned() else {
        return GithubAnswer::refusal(422, "Reference does not exist");
    };
    let Some(target) = call.object("sha").filter(|target| fits(model, &name, target)) else {
        return GithubAnswer::refusal(422, "Object does not exist");
    };
    if call.flag("force") != Some(true) && !model.is_fast_forward(&current, &target) {
        return GithubAnswer::refusal(422, "Update is not a fast forward");
    }
    model.write_refs(vec![(name.clone(), Some(target.clone()))]);
    GithubAnswer::new(200, call.urls.git_ref(model, &name, &target))
}

/// DELETE /git/refs/{ref}.
pub fn delete_ref(model: &mut Model, call: &Call) -> GithubAnswer {
    let name = format!("refs/{}", call.parameter("ref"));
    if !model.refs().contains_key(&name) {
        return GithubAnswer::refusal(422, "Reference does not exist");
    }
    model.write_refs(vec![(name, None)]);
    GithubAnswer::nothing()
}

/// POST /git/tags: the object, and no ref.
pub fn create_tag(model: &mut Model, call: &Call) -> GithubAnswer {
    let kind = call.text("type").unwrap_or_default();
    let Some(target) = call.object("object").filter(|target| model.kind(target) == Some(kind)) else {
        return GithubAnswer::refusal(422, "Could not verify object");
    };
    let own = model.person();
    let tagger = &call.body["tagger"];
    let tagger = Person {
        name: tagger["name"].as_str().unwrap_or(&own.name).to_owned(),
        email: tagger["email"].as_str().unwrap_or(&own.email).to_owned(),
        seconds: tagger["date"]
            .as_str()
            .and_then(|date| date.parse::<jiff::Timestamp>().ok())
            .map_or(own.seconds, jiff::Timestamp::as_second),
        zone: own.zone,
    };
    let name = call.text("tag").unwrap_or_default();
    let tag = TagObject::new(name, call.text("message").unwrap_or_default(), &target, kind, &tagger);
    let answer = GithubAnswer::new(201, call.urls.git_tag(&tag));
    model.add_tag_object(tag);
    answer
}

/// GET /git/tags/{sha}.
pub fn get_tag(model: &Model, call: &Call) -> GithubAnswer {
    let id = call.parameter("tag_sha").parse::<ObjectId>().ok();
    match id.and_then(|id| model.tag_objects.get(&id)) {
        Some(tag) => GithubAnswer::new(200, call.urls.git_tag(tag)),
        None => GithubAnswer::not_found(),
    }
}

/// GET /tags. The order is not documented; from the last name to the first is what is seen most.
pub fn list_tags(model: &Model, call: &Call) -> GithubAnswer {
    let refs = model.listed_refs();
    let tags: Vec<_> = refs
        .iter()
        .rev()
        .filter_map(|(name, target)| Some((name.strip_prefix("refs/tags/")?, model.peel(target)?)))
        .collect();
    let page = call.page_of(tags.len());
    let entries = tags[page.range.clone()].iter().map(|(name, commit)| call.urls.tag(name, commit)).collect();
    page.answer(entries)
}

/// GET /commits/{ref}.
pub fn get_commit(model: &Model, call: &Call) -> GithubAnswer {
    let wanted = call.parameter("ref");
    match model.resolve(wanted) {
        Some(commit) => {
            let mut body = call.urls.commit(commit);
            body["stats"] = json!({ "additions": 0, "deletions": 0, "total": 0 });
            body["files"] = json!([]);
            GithubAnswer::new(200, body)
        }
        None => GithubAnswer::refusal(422, &format!("No commit found for SHA: {wanted}")),
    }
}

/// GET /commits: the newest first.
pub fn list_commits(model: &Model, call: &Call) -> GithubAnswer {
    let start = call.asked.parameter("sha").unwrap_or_else(|| model.default_branch.clone());
    let Some(start) = model.resolve(&start) else {
        return if model.commits.is_empty() {
            GithubAnswer::refusal(409, "Git Repository is empty.")
        } else {
            GithubAnswer::not_found()
        };
    };
    let contained = ancestry::ancestors(&model.commits, &start.id);
    let mut ids = ancestry::sorted(&model.commits, contained.iter());
    ids.reverse();
    let page = call.page_of(ids.len());
    let entries = ids[page.range.clone()].iter().map(|id| call.urls.commit(&model.commits[id])).collect();
    page.answer(entries)
}

/// GET /compare/{base}...{head}. All files and 250 commits come at once; with `per_page`, at most 100.
pub fn compare(model: &Model, call: &Call) -> GithubAnswer {
    let both = call.parameter("basehead").split_once("...");
    let found = both.and_then(|(base, head)| Some((model.resolve(base)?, model.resolve(head)?, base, head)));
    let Some((base, head, base_text, head_text)) = found else { return GithubAnswer::not_found() };
    let Some(comparison) = ancestry::compare(&model.commits, &base.id, &head.id) else {
        let words = format!("No common ancestor between {base_text} and {head_text}.");
        return GithubAnswer::refusal(404, &words);
    };
    let page = match call.asked.parameter("per_page") {
        Some(_) => call.page_of(comparison.ahead.len()),
        None => call.page(comparison.ahead.len(), 250),
    };
    let shown = &comparison.ahead[page.range.clone()];
    let commits: Vec<Value> = shown.iter().map(|id| call.urls.commit(&model.commits[id])).collect();
    let path = super::answers::Urls::part(call.parameter("basehead"));
    let html = format!("{}/compare/{path}", call.urls.html);
    page.link_to(GithubAnswer::new(
        200,
        json!({
            "url": format!("{}/compare/{path}", call.urls.api),
            "html_url": html,
            "permalink_url": format!("{}/compare/{}...{}", call.urls.html, base.id.short(), head.id.short()),
            "diff_url": format!("{html}.diff"),
            "patch_url": format!("{html}.patch"),
            "base_commit": call.urls.commit(base),
            "merge_base_commit": call.urls.commit(&model.commits[&comparison.merge_base]),
            "status": comparison.status,
            "ahead_by": comparison.ahead.len(),
            "behind_by": comparison.behind,
            "total_commits": comparison.ahead.len(),
            "commits": commits,
            "files": [],
        }),
    ))
}
