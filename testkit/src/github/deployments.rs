//! Deployments and their statuses.

use autotag_model::git::ObjectId;
use serde_json::{Value, json};

use super::ancestry;
use super::answers::{GithubAnswer, Urls};
use super::call::Call;
use super::model::Model;
use super::objects::{Deployment, Status, moment};

impl Deployment {
    /// The newest state.
    pub fn state(&self) -> Option<&str> {
        self.statuses.last().map(|status| status.state.as_str())
    }

    fn json(&self, urls: &Urls) -> Value {
        let own = format!("{}/deployments/{}", urls.api, self.id);
        let updated = self.statuses.last().map_or(self.created, |status| status.created);
        json!({
            "url": own,
            "id": self.id,
            "node_id": format!("DE_{}", self.id),
            "sha": self.sha,
            "ref": self.reference,
            "task": self.task,
            "payload": self.payload,
            "original_environment": self.environment,
            "environment": self.environment,
            "description": self.description,
            "creator": urls.user("github-actions[bot]"),
            "created_at": moment(self.created),
            "updated_at": moment(updated),
            "statuses_url": format!("{own}/statuses"),
            "repository_url": urls.api,
            "transient_environment": self.transient,
            "production_environment": self.production,
        })
    }

    fn status_json(&self, status: &Status, urls: &Urls) -> Value {
        let own = format!("{}/deployments/{}", urls.api, self.id);
        json!({
            "url": format!("{own}/statuses/{}", status.id),
            "id": status.id,
            "node_id": format!("DES_{}", status.id),
            "state": status.state,
            "creator": urls.user("github-actions[bot]"),
            "description": status.description,
            "environment": self.environment,
            "target_url": status.log_url,
            "created_at": moment(status.created),
            "updated_at": moment(status.created),
            "deployment_url": own,
            "repository_url": urls.api,
            "environment_url": status.environment_url,
            "log_url": status.log_url,
        })
    }
}

/// GET /deployments, with its filters; the newest first.
pub fn list(model: &Model, call: &Call) -> GithubAnswer {
    let wanted = |name: &str, value: &str| call.asked.parameter(name).is_none_or(|text| text == value);
    let found: Vec<_> = model
        .deployments
        .iter()
        .rev()
        .filter(|deployment| {
            wanted("sha", deployment.sha.as_str())
                && wanted("ref", &deployment.reference)
                && wanted("task", &deployment.task)
                && wanted("environment", &deployment.environment)
        })
        .collect();
    let page = call.page_of(found.len());
    let entries = found[page.range.clone()].iter().map(|deployment| deployment.json(&call.urls)).collect();
    page.answer(entries)
}

/// GET /deployments/{id}.
pub fn get(model: &Model, call: &Call) -> GithubAnswer {
    find(model, call).map_or_else(GithubAnswer::not_found, |place| {
        GithubAnswer::new(200, model.deployments[place].json(&call.urls))
    })
}

fn find(model: &Model, call: &Call) -> Option<usize> {
    let id = call.number("deployment_id");
    model.deployments.iter().position(|deployment| deployment.id == id)
}

/// POST /deployments. With `auto_merge` (the default) a branch that lacks commits of the default branch
/// gets them merged, and there is no deployment: 202.
pub fn create(model: &mut Model, call: &Call) -> GithubAnswer {
    let reference = call.text("ref").unwrap_or_default().to_owned();
    let Some(sha) = model.resolve(&reference).map(|commit| commit.id.clone()) else {
        return GithubAnswer::refusal(422, &format!("No ref found for: {reference}"));
    };
    if call.flag("auto_merge") != Some(false) && merge(model, &reference, &sha) {
        let message = format!("Auto-merged {} into {reference} on deployment.", model.default_branch);
        return GithubAnswer::new(202, json!({ "message": message }));
    }
    let environment = call.text("environment").unwrap_or("production").to_owned();
    let deployment = Deployment {
        id: model.next_id(),
        sha,
        reference,
        task: call.text("task").unwrap_or("deploy").to_owned(),
        payload: if call.body["payload"].is_null() { json!({}) } else { call.body["payload"].clone() },
        description: call.text("description").map(str::to_owned),
        transient: call.flag("transient_environment") == Some(true),
        production: call.flag("production_environment").unwrap_or(environment == "production"),
        environment,
        created: model.now(),
        statuses: Vec::new(),
    };
    let body = deployment.json(&call.urls);
    model.deployments.push(deployment);
    GithubAnswer::new(201, body)
}

fn merge(model: &mut Model, reference: &str, head: &ObjectId) -> bool {
    let branch = format!("refs/heads/{reference}");
    let main = model.resolve(&model.default_branch).map(|commit| commit.id.clone());
    let Some(main) = main.filter(|_| model.refs().contains_key(&branch)) else { return false };
    if ancestry::ancestors(&model.commits, head).contains(&main) {
        return false;
    }
    let author = model.person();
    let merged = model.add_commit("Merge the default branch", &[head.clone(), main], &author);
    model.write_refs(vec![(branch, Some(merged))]);
    true
}

/// DELETE /deployments/{id}: the last of its kind, or an inactive one.
pub fn delete(model: &mut Model, call: &Call) -> GithubAnswer {
    let Some(place) = find(model, call) else { return GithubAnswer::not_found() };
    if model.deployments.len() > 1 && model.deployments[place].state() != Some("inactive") {
        return GithubAnswer::refusal(
            422,
            "We cannot delete an active deployment unless it is the only deployment.",
        );
    }
    model.deployments.remove(place);
    GithubAnswer::nothing()
}

/// GET /deployments/{id}/statuses: the newest first.
pub fn list_statuses(model: &Model, call: &Call) -> GithubAnswer {
    let Some(place) = find(model, call) else { return GithubAnswer::not_found() };
    let deployment = &model.deployments[place];
    let page = call.page_of(deployment.statuses.len());
    let newest_first: Vec<_> = deployment.statuses.iter().rev().collect();
    let shown = newest_first[page.range.clone()].iter();
    let entries = shown.map(|status| deployment.status_json(status, &call.urls)).collect();
    page.answer(entries)
}

/// POST /deployments/{id}/statuses. With `auto_inactive` (the default) a success makes earlier ones of
/// the same environment inactive, production aside.
pub fn create_status(model: &mut Model, call: &Call) -> GithubAnswer {
    let Some(place) = find(model, call) else { return GithubAnswer::not_found() };
    let description = call.text("description").unwrap_or_default().to_owned();
    if description.chars().count() > 140 {
        return GithubAnswer::invalid("DeploymentStatus", "description", "invalid");
    }
    let text = |name: &str| call.text(name).unwrap_or_default().to_owned();
    for name in ["environment_url", "log_url", "target_url"] {
        if !text(name).is_empty() && url::Url::parse(&text(name)).is_err() {
            return GithubAnswer::invalid("DeploymentStatus", name, "invalid");
        }
    }
    let status = Status {
        id: model.next_id(),
        state: text("state"),
        description,
        environment_url: text("environment_url"),
        log_url: call.text("log_url").map_or_else(|| text("target_url"), str::to_owned),
        created: model.now(),
    };
    if status.state == "success" && call.flag("auto_inactive") != Some(false) {
        retire(model, place);
    }
    let deployment = &mut model.deployments[place];
    let body = deployment.status_json(&status, &call.urls);
    deployment.statuses.push(status);
    GithubAnswer::new(201, body)
}

fn retire(model: &mut Model, place: usize) {
    let environment = model.deployments[place].environment.clone();
    for earlier in 0..place {
        let deployment = &model.deployments[earlier];
        let counts = deployment.environment == environment && !deployment.transient && !deployment.production;
        if counts && deployment.state() != Some("inactive") {
            let (id, created) = (model.next_id(), model.now());
            model.deployments[earlier].statuses.push(Status {
                id,
                state: "inactive".to_owned(),
                description: String::new(),
                environment_url: String::new(),
                log_url: String::new(),
                created,
            });
        }
    }
}
