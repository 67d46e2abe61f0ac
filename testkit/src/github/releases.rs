//! Releases, and which of them is the latest.

use serde_json::{Value, json};

use super::ancestry;
use super::answers::{GithubAnswer, Urls, login};
use super::call::Call;
use super::model::Model;
use super::objects::{Commit, Release, moment};

impl Release {
    fn is_public(&self) -> bool {
        !self.draft && !self.prerelease
    }

    fn json(&self, urls: &Urls) -> Value {
        let tag = Urls::part(&self.tag);
        let own = format!("{}/releases/{}", urls.api, self.id);
        // A draft's page hides its tag.
        let page = if self.draft { format!("untagged-{:020x}", self.id) } else { tag.clone() };
        let ball = |kind: &str| (!self.draft).then(|| format!("{}/{kind}/{tag}", urls.api));
        json!({
            "url": own,
            "assets_url": format!("{own}/assets"),
            "upload_url": format!("{own}/assets{{?name,label}}"),
            "html_url": format!("{}/releases/tag/{page}", urls.html),
            "id": self.id,
            "author": urls.user("github-actions[bot]"),
            "node_id": format!("RE_{}", self.id),
            "tag_name": self.tag,
            "target_commitish": self.target,
            "name": self.name,
            "body": self.body,
            "draft": self.draft,
            "prerelease": self.prerelease,
            "immutable": false,
            "created_at": moment(self.created),
            "published_at": self.published.map(moment),
            "updated_at": moment(self.published.unwrap_or(self.created)),
            "assets": [],
            "tarball_url": ball("tarball"),
            "zipball_url": ball("zipball"),
        })
    }
}

/// The release that GitHub shows as Latest: the marked one; without one, the newest by the date of its
/// commit, the higher version among equals ("legacy" in the documentation of `make_latest`).
pub fn latest(model: &Model) -> Option<&Release> {
    let public = || model.releases().iter().filter(|release| release.is_public());
    let marked = public().find(|release| Some(release.id) == model.marked_latest);
    marked.or_else(|| public().filter(|release| !release.never_latest).max_by_key(|release| age(release)))
}

fn age(release: &Release) -> (i64, Option<semver::Version>) {
    let digits = release.tag.find(|letter: char| letter.is_ascii_digit()).unwrap_or(0);
    (release.created, semver::Version::parse(&release.tag[digits..]).ok())
}

/// GitHub lists no more than these, and takes no longer text.
const MOST_LISTED: usize = 10_000;
const LONGEST_BODY: usize = 125_000;

/// GET /releases: the newest first; drafts for writers alone; nothing beyond the first ten thousand.
pub fn list(model: &Model, call: &Call) -> GithubAnswer {
    let releases = model.listed_releases();
    let shown: Vec<_> = releases.iter().rev().filter(|release| call.may_write || !release.draft).collect();
    let page = call.page_of(shown.len());
    if page.range.end > MOST_LISTED {
        return GithubAnswer::refusal(422, &format!("Only the first {MOST_LISTED} results are available."));
    }
    let entries = shown[page.range.clone()].iter().map(|release| release.json(&call.urls)).collect();
    page.answer(entries)
}

/// GET /releases/latest.
pub fn get_latest(model: &Model, call: &Call) -> GithubAnswer {
    shown(latest(model), call)
}

/// GET /releases/tags/{tag}: published ones.
pub fn by_tag(model: &Model, call: &Call) -> GithubAnswer {
    let tag = call.parameter("tag");
    shown(model.releases().iter().find(|release| release.tag == tag && !release.draft), call)
}

/// GET /releases/{id}.
pub fn get(model: &Model, call: &Call) -> GithubAnswer {
    let id = call.number("release_id");
    shown(
        model.releases().iter().find(|release| release.id == id && (call.may_write || !release.draft)),
        call,
    )
}

fn shown(release: Option<&Release>, call: &Call) -> GithubAnswer {
    release.map_or_else(GithubAnswer::not_found, |release| GithubAnswer::new(200, release.json(&call.urls)))
}

/// POST /releases.
pub fn create(model: &mut Model, call: &Call) -> GithubAnswer {
    let tag = call.text("tag_name").unwrap_or_default().to_owned();
    let target = call.text("target_commitish").unwrap_or(&model.default_branch).to_owned();
    let prerelease = call.flag("prerelease") == Some(true);
    let mut release = Release {
        id: 0,
        tag: tag.clone(),
        target,
        name: call.text("name").map(str::to_owned),
        body: call.text("body").map(str::to_owned),
        draft: call.flag("draft") == Some(true),
        prerelease,
        never_latest: false,
        created: 0,
        published: None,
    };
    if call.flag("generate_release_notes") == Some(true) {
        match notes(model, &call.urls, &tag, Some(&release.target), None) {
            Ok(notes) => {
                let own = release.body.map(|body| format!("{body}\n\n")).unwrap_or_default();
                release.body = Some(format!("{own}{notes}"));
                release.name.get_or_insert(tag);
            }
            Err(refusal) => return refusal,
        }
    }
    release.id = model.next_id();
    settle(model, release, call, 201)
}

/// PATCH /releases/{id}. Without `make_latest` the documented default holds: "true".
pub fn update(model: &mut Model, call: &Call) -> GithubAnswer {
    let id = call.number("release_id");
    let Some(mut release) = model.releases().iter().find(|release| release.id == id).cloned() else {
        return GithubAnswer::not_found();
    };
    let text = |name: &str, old: String| call.text(name).map_or(old, str::to_owned);
    release.tag = text("tag_name", release.tag);
    release.target = text("target_commitish", release.target);
    release.name = call.text("name").map(str::to_owned).or(release.name);
    release.body = call.text("body").map(str::to_owned).or(release.body);
    release.draft = call.flag("draft").unwrap_or(release.draft);
    release.prerelease = call.flag("prerelease").unwrap_or(release.prerelease);
    settle(model, release, call, 200)
}

/// What creating and editing have in common: the tag, the dates, the mark.
fn settle(model: &mut Model, mut release: Release, call: &Call, status: u16) -> GithubAnswer {
    if release.body.as_ref().is_some_and(|body| body.chars().count() > LONGEST_BODY) {
        let mut answer = GithubAnswer::invalid("Release", "body", "custom");
        if let Some(body) = &mut answer.body {
            body["errors"][0]["message"] =
                json!(format!("body is too long (maximum is {LONGEST_BODY} characters)"));
        }
        return answer;
    }
    let taken = |other: &Release| other.tag == release.tag && other.id != release.id && !other.draft;
    if !release.draft && model.releases().iter().any(taken) {
        return GithubAnswer::invalid("Release", "tag_name", "already_exists");
    }
    let name = format!("refs/tags/{}", release.tag);
    if Model::misnamed(&super::model::Refs::new(), &name).is_some() {
        return GithubAnswer::invalid("Release", "tag_name", "invalid");
    }
    let tagged = model.refs().get(&name).cloned();
    let commit = tagged.as_ref().and_then(|id| model.peel(id)).or_else(|| model.resolve(&release.target));
    let Some(commit) = commit.cloned() else {
        return GithubAnswer::invalid("Release", "target_commitish", "invalid");
    };
    release.created = commit.committer.seconds;
    if !release.draft {
        if tagged.is_none() {
            model.write_refs(vec![(name, Some(commit.id))]);
        }
        if release.published.is_none() {
            release.published = Some(model.now());
        }
    }
    mark(model, &mut release, call.text("make_latest").unwrap_or("true"));
    let body = release.json(&call.urls);
    model.write_releases(|releases| match releases.iter_mut().find(|other| other.id == release.id) {
        Some(place) => *place = release,
        None => releases.push(release),
    });
    GithubAnswer::new(status, body)
}

fn mark(model: &mut Model, release: &mut Release, make_latest: &str) {
    let was_marked = model.marked_latest == Some(release.id);
    release.never_latest = make_latest == "false";
    if make_latest == "true" && release.is_public() {
        model.marked_latest = Some(release.id);
    } else if make_latest == "legacy" && release.is_public() {
        // By date and version, whatever was marked before.
        let newer = latest(model).is_none_or(|shown| shown.id == release.id || age(release) >= age(shown));
        model.marked_latest = if newer { Some(release.id) } else { model.marked_latest };
    } else if was_marked {
        model.marked_latest = None;
    }
}

/// DELETE /releases/{id}: the tag stays.
pub fn delete(model: &mut Model, call: &Call) -> GithubAnswer {
    let id = call.number("release_id");
    if !model.releases().iter().any(|release| release.id == id) {
        return GithubAnswer::not_found();
    }
    model.write_releases(|releases| releases.retain(|release| release.id != id));
    GithubAnswer::nothing()
}

/// POST /releases/generate-notes.
pub fn generate_notes(model: &Model, call: &Call) -> GithubAnswer {
    let tag = call.text("tag_name").unwrap_or_default();
    match notes(model, &call.urls, tag, call.text("target_commitish"), call.text("previous_tag_name")) {
        Ok(body) => GithubAnswer::new(200, json!({ "name": tag, "body": body })),
        Err(refusal) => refusal,
    }
}

fn notes(
    model: &Model,
    urls: &Urls,
    tag: &str,
    target: Option<&str>,
    previous: Option<&str>,
) -> Result<String, GithubAnswer> {
    let tagged = |tag: &str| model.refs().get(&format!("refs/tags/{tag}")).and_then(|id| model.peel(id));
    let head = tagged(tag)
        .or_else(|| model.resolve(target.unwrap_or(&model.default_branch)))
        .ok_or_else(|| GithubAnswer::invalid("Release", "target_commitish", "invalid"))?;
    let contained = ancestry::ancestors(&model.commits, &head.id);
    let previous = match previous {
        Some(name) => {
            let commit = tagged(name)
                .ok_or_else(|| GithubAnswer::invalid("Release", "previous_tag_name", "invalid"))?;
            Some((name, commit))
        }
        None => model
            .releases()
            .iter()
            .rev()
            .filter(|release| !release.draft && release.tag != tag)
            .find_map(|release| Some((release.tag.as_str(), tagged(&release.tag)?)))
            .filter(|(_, commit)| contained.contains(&commit.id)),
    };
    let old = previous.map(|(_, commit)| ancestry::ancestors(&model.commits, &commit.id)).unwrap_or_default();
    let new = ancestry::sorted(&model.commits, contained.difference(&old));
    let lines: Vec<String> = new.iter().map(|id| line(urls, &model.commits[id])).collect();
    let changes =
        if lines.is_empty() { String::new() } else { format!("## What's Changed\n{}\n\n", lines.join("\n")) };
    let link = match previous {
        Some((name, _)) => format!("compare/{}...{}", Urls::part(name), Urls::part(tag)),
        None => format!("commits/{}", Urls::part(tag)),
    };
    Ok(format!("{changes}**Full Changelog**: {}/{link}", urls.html))
}

/// A squash merge's title ends with the number of its pull request; others link the commit.
fn line(urls: &Urls, commit: &Commit) -> String {
    let title = commit.message.lines().next().unwrap_or_default();
    let number = title.strip_suffix(')').and_then(|rest| rest.rsplit_once(" (#"));
    let (title, url) = match number {
        Some((title, number)) => (title, format!("{}/pull/{number}", urls.html)),
        None => (title, format!("{}/commit/{}", urls.html, commit.id)),
    };
    format!("* {title} by @{} in {url}", login(&commit.author.name))
}
