//! How a run of the simulation ended, in short.

use autotag_deploy::failure::Failure;
use autotag_deploy::pipeline::Ending;

/// How a run ended.
pub type Ended = Result<Option<Ending>, Failure>;

/// Whether a job with this result is green.
pub fn is_whole(result: &Ended) -> bool {
    match result {
        Err(_) => false,
        Ok(ending) => {
            let deployment = ending.as_ref().and_then(Ending::deployment);
            deployment.is_none_or(|deployment| deployment.failure.is_none())
        }
    }
}

/// An ending in a few words.
pub fn words(ending: &Ending) -> String {
    match ending {
        Ending::Released(released) => {
            let word = if released.resumed { "resumed" } else { "released" };
            let deployed = match &released.deployment {
                Some(deployment) if deployment.deployed() => ", deployed",
                Some(deployment) if deployment.failure.is_some() => ", deployment failed",
                Some(_) => ", a newer one serves",
                None => "",
            };
            format!("{word} {}{deployed}", released.known.claim.version)
        }
        Ending::Superseded(superseded) => format!("superseded by {}", superseded.by.claim.version),
        other => format!("{other:?}"),
    }
}
