//! The application's name, by which other containers of its networks find the one that serves.
//!
//! An alias belongs to a container's connection with a network, and cannot be moved without ending that
//! connection and everything that runs over it, such as an application's connections to its database. A
//! container's name is moved without one: Docker's DNS follows a rename at once. It compares names without
//! case and containers' names with it, so the application has two names that are one to the DNS: the container
//! that comes takes the free one, and only then the other one loses its own. In between both answer, and
//! both work; at no moment nobody does.

use super::words;
use crate::engine::{ContainerFacts, Engine};
use crate::execute::container;
use crate::state::StepError;
use crate::state::labels::{APP, DEPLOYMENT};
use autotag_protocol::{AppName, DeploymentId, FailureCode};

/// Gives this container the application's name, and takes it from every other one of the application.
pub async fn take_name<E: Engine>(engine: &E, app: &AppName, container: &str) -> Result<(), StepError> {
    let names = container::names(app);
    let mut holders: Vec<ContainerFacts> = Vec::new();
    for name in &names {
        // The Engine finds containers by a part of their id as well.
        let found = engine.inspect(name).await.map_err(words)?;
        holders.extend(found.filter(|found| found.name == *name));
    }
    let ours = |holder: &&ContainerFacts| holder.labels.get(APP).is_some_and(|of| of == app.as_str());
    if let Some(other) = holders.iter().find(|holder| !ours(holder)) {
        let why = format!(
            "other containers do not find this application by its name: the container {:.12} is called {}, and is another's",
            other.id, other.name
        );
        return Err(StepError::new(FailureCode::Docker, why));
    }
    let taken = |name: &String| holders.iter().any(|holder| holder.name == *name);
    let others: Vec<&ContainerFacts> = holders.iter().filter(|holder| holder.id != container).collect();
    let mut free = names.iter().filter(|name| !taken(name));
    match (others.len() == holders.len(), free.next()) {
        // It has one already.
        (false, _) => lose_name(engine, app, &others).await,
        (true, Some(name)) => {
            engine.rename(container, name).await.map_err(words)?;
            lose_name(engine, app, &others).await
        }
        // Two that somebody made have both.
        (true, None) => {
            lose_name(engine, app, &others).await?;
            engine.rename(container, app.as_str()).await.map_err(words)
        }
    }
}

async fn lose_name<E: Engine>(
    engine: &E,
    app: &AppName,
    holders: &[&ContainerFacts],
) -> Result<(), StepError> {
    for holder in holders {
        let deployment = holder.labels.get(DEPLOYMENT).and_then(|text| text.parse::<DeploymentId>().ok());
        let name = deployment.map_or_else(
            || format!("autotag-{app}--{:.12}", holder.id),
            |deployment| container::made_name(app, &deployment),
        );
        engine.rename(&holder.id, &name).await.map_err(words)?;
    }
    Ok(())
}
