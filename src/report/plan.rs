//! A plan for people (a table) and for programs (JSON).

use serde_json::{Value, json};

use crate::inputs::request::Request;
use crate::pipeline::Planned;
use crate::versioning::claim::ClaimKind;
use crate::versioning::plan::{Plan, RegistryVersions};
use crate::versioning::tag::highest_stable;

/// What the plan comes to, in one sentence.
pub fn sentence(plan: &Plan) -> String {
    match plan {
        Plan::Claim(next) if next.kind == ClaimKind::Image => format!("add an image to {}", next.version),
        Plan::Claim(next) => format!("release {}", next.version),
        Plan::Resume { known } => format!("continue with {}, this commit's version", known.claim.version),
        Plan::Superseded { by, .. } => format!(
            "nothing: {} of the newer commit {} supersedes this one",
            by.claim.version,
            by.claim.commit.short()
        ),
    }
}

/// Rows of name and value.
pub fn rows(request: &Request, planned: &Planned) -> Vec<(&'static str, String)> {
    let survey = &planned.survey;
    let none = || "none".to_owned();
    let mut rows = vec![("Plan", sentence(&planned.plan))];
    if let Plan::Claim(next) = &planned.plan {
        rows.push(("Why", next.reason.clone()));
        rows.push(("Git tag", request.version.prefix.tag_of(&next.version)));
        rows.push(("Image", format!("{}:{}", request.version.image, next.version)));
        rows.push(("Previous version", next.previous.as_ref().map_or_else(none, ToString::to_string)));
    }
    rows.push(("Commit", survey.commit.to_string()));
    rows.push(("Highest Git tag", highest_stable(&survey.git).map_or_else(none, ToString::to_string)));
    rows.push(("Highest in registry", registry_words(&survey.registry)));
    rows.push(("Highest claimed", survey.highest_claimed().map_or_else(none, ToString::to_string)));
    rows.push(("Published", format!("nothing: {}", planned.why)));
    rows
}

fn registry_words(registry: &RegistryVersions) -> String {
    match registry {
        RegistryVersions::Known { versions, .. } => {
            highest_stable(versions).map_or("none".to_owned(), ToString::to_string)
        }
        RegistryVersions::NoRepository => "none: the repository does not exist yet".to_owned(),
        RegistryVersions::Withheld(words) => format!("not shown ({words})"),
    }
}

/// The table, aligned.
pub fn table(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> = rows.iter().map(|(name, value)| format!("  {name:<width$}  {value}")).collect();
    lines.join("\n")
}

/// The plan for programs. Fields are only ever added.
pub fn json(request: &Request, planned: &Planned) -> Value {
    let survey = &planned.survey;
    let text = |version: Option<&semver::Version>| version.map(ToString::to_string);
    let (action, version, previous, reason) = match &planned.plan {
        Plan::Claim(next) => ("release", Some(&next.version), next.previous.as_ref(), next.reason.clone()),
        Plan::Resume { known } => {
            ("resume", Some(&known.claim.version), known.claim.after.as_ref(), sentence(&planned.plan))
        }
        Plan::Superseded { .. } => ("superseded", None, None, sentence(&planned.plan)),
    };
    json!({
        "action": action,
        "version": text(version),
        "tag": version.map(|version| request.version.prefix.tag_of(version)),
        "previous-version": text(previous),
        "reason": reason,
        "commit": survey.commit,
        "image": request.version.image.to_string(),
        "highest": {
            "git": text(highest_stable(&survey.git)),
            "registry": text(highest_stable(survey.registry.versions())),
            "claimed": text(survey.highest_claimed()),
        },
        "provisional": matches!(survey.registry, RegistryVersions::Withheld(_)),
    })
}
