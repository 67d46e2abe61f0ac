//! Keeps the proxy pointed at what serves: after Docker's events, after the proxy's own restart; and takes
//! up again what could not be finished.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::{Server, apps, change};
use crate::config::app_file::Traffic;
use crate::config::settings::{Settings, Variables};
use crate::engine::{ContainerEvent, Engine, Events as _};
use crate::state::Store;
use crate::state::labels;
use autotag_base::clock;
use autotag_protocol::AppName;
use autotag_proxy::admin::Command;

/// Before Docker is asked again whether it is back.
const DOCKER_PAUSE: Duration = Duration::from_millis(500);

/// Before the proxy is tried again; requests to its new process wait meanwhile.
const PROXY_PAUSE: Duration = Duration::from_millis(100);

/// The proxy closes a connection on which nothing was said for five minutes.
const PROXY_WORD: Duration = Duration::from_mins(1);

/// Watches for ever.
pub(super) async fn watch<E: Engine>(server: Arc<Server<E>>) {
    tokio::join!(docker(&server), proxy(&server), unfinished(&server));
}

/// Recovers every application when Docker is there, and again whenever it has been away.
async fn docker<E: Engine>(server: &Arc<Server<E>>) {
    loop {
        match server.engine.events(labels::APP).await {
            Err(error) => tracing::warn!("{error}"),
            Ok(mut events) => {
                recover_all(server);
                loop {
                    match events.next().await {
                        Ok(event) => {
                            let app = event.labels.get(labels::APP).map(|app| app.parse::<AppName>());
                            if let Some(Ok(app)) = app {
                                tracing::debug!(%app, container = event.id, action = event.action, "Docker \
                                tells");
                                refresh(server, &app, &event).await;
                                removed(server, &app, &event);
                                made(server, app, &event);
                            }
                        }
                        Err(error) => {
                            tracing::warn!("Docker's events ended: {error}");
                            break;
                        }
                    }
                }
            }
        }
        clock::sleep(DOCKER_PAUSE).await;
    }
}

/// A container that ended has no address, and one that was started again may have another.
async fn refresh<E: Engine>(server: &Server<E>, app: &AppName, event: &ContainerEvent) {
    let done = match event.action.as_str() {
        "die" => server.proxy.ended(app, &event.id).await,
        // `stop` is told after the end, when somebody may have started it again: so it is looked at.
        "start" | "restart" | "unpause" | "stop" | "destroy" => {
            server.proxy.refresh(&server.engine, app).await
        }
        _ => return,
    };
    if let Err(why) = done {
        tracing::warn!(%app, "the proxy did not get the container's new address: {why}");
    }
}

/// What should serve was removed: it is made again. Where the application itself was removed, nothing is.
fn removed<E: Engine>(server: &Arc<Server<E>>, app: &AppName, event: &ContainerEvent) {
    if event.action != "destroy" || !server.paths.app_file(app).exists() {
        return;
    }
    let state = Store::new(&server.paths.state(app), app.clone()).load();
    let is_active =
        state.is_ok_and(|state| state.active().is_some_and(|it| it.container.as_str() == event.id));
    if is_active {
        let (server, app) = (Arc::clone(server), app.clone());
        tokio::spawn(async move { retry(&server, &app).await });
    }
}

/// A container that was made may come too late: whoever asked Docker for it was killed, and its deployment is
/// over. Whether it is can be told only when nobody is at work: also who merely asks again how that deployment
/// ended has its id.
fn made<E: Engine>(server: &Arc<Server<E>>, app: AppName, event: &ContainerEvent) {
    if event.action != "create" {
        return;
    }
    let (server, container) = (Arc::clone(server), event.id.clone());
    tokio::spawn(async move {
        if let Err(why) = change::sweep(&server, &app, &container).await {
            tracing::warn!(%app, "what was created too late is left: {why}");
        }
    });
}

fn recover_all<E: Engine>(server: &Arc<Server<E>>) {
    match apps(&server.paths) {
        Err(error) => tracing::error!(%error, "the app files cannot be listed"),
        // Each for itself: one that waits for its health keeps no other one waiting.
        Ok(apps) => {
            for app in apps {
                let server = Arc::clone(server);
                tokio::spawn(async move {
                    // First, since a recovery may wait for long: what happened unheard of, while Docker or
                    // this process was away, may have given the address to another.
                    if let Err(why) = server.proxy.refresh(&server.engine, &app).await {
                        tracing::warn!(%app, "the proxy may have an address that is another's: {why}");
                    }
                    recover(&server, &app).await;
                });
            }
        }
    }
}

async fn recover<E: Engine>(server: &Server<E>, app: &AppName) {
    match change::recover(server, app).await {
        Ok(()) => server.queues.finished(app),
        Err(why) => {
            tracing::error!(%app, "it is not certain that the right version serves: {why}");
            server.queues.retry_failed(app);
        }
    }
}

async fn unfinished<E: Engine>(server: &Arc<Server<E>>) {
    loop {
        let app = server.queues.unfinished().await;
        // Each for itself, as in `recover_all`.
        let server = Arc::clone(server);
        tokio::spawn(async move { retry(&server, &app).await });
    }
}

/// One at a time for each application: every deployment that leaves something unfinished asks for one, and a
/// deployment that mends it would have to wait for all of them.
async fn retry<E: Engine>(server: &Server<E>, app: &AppName) {
    match server.queues.of(app).retry() {
        Some(_alone) => recover(server, app).await,
        // What the one at work began with may be older than this.
        None => server.queues.schedule_retry(app),
    }
}

/// Tells a proxy that was started anew everything that its predecessor knew. A connection is kept open for
/// nothing but to notice its end.
async fn proxy<E: Engine>(server: &Arc<Server<E>>) {
    loop {
        if let Ok(stream) = UnixStream::connect(server.paths.proxy_admin()).await {
            if let Err(why) = server.proxy.tell_all(&server.engine).await {
                tracing::warn!("the proxy did not get all routes: {why}");
            }
            open_new(server).await;
            let _ = until_closed(stream).await;
        }
        clock::sleep(PROXY_PAUSE).await;
    }
}

/// Opens the addresses of applications that were never deployed. One that two app files name is left to the
/// one that is deployed first.
async fn open_new<E: Engine>(server: &Server<E>) {
    // What is wrong with the files is told to whoever deploys.
    let all = apps(&server.paths).unwrap_or_default().into_iter();
    let read = |app: AppName| {
        let settings = Settings::today(&server.paths, &app, Variables::new()).ok()?;
        Some((app, settings.file.traffic))
    };
    let all: Vec<(AppName, Traffic)> = all.filter_map(read).collect();
    for (app, traffic) in &all {
        let Traffic::Proxied { listen, .. } = traffic else { continue };
        let named =
            |other: &Traffic| matches!(other, Traffic::Proxied { listen: other, .. } if other == listen);
        let alone = all.iter().filter(|(_, other)| named(other)).count() == 1;
        let store = Store::new(&server.paths.state(app), app.clone());
        if alone
            && store.load().is_ok_and(|state| state.is_new())
            && let Err(why) = server.proxy.open(app, traffic).await
        {
            tracing::warn!(%app, "its address could not be opened: {why}");
        }
    }
}

async fn until_closed(mut stream: UnixStream) -> std::io::Result<()> {
    let mut word = serde_json::to_vec(&Command::Status {})?;
    word.push(b'\n');
    let mut buffer = vec![0; 4096];
    loop {
        match tokio::time::timeout(PROXY_WORD, stream.read(&mut buffer)).await {
            Ok(Ok(0)) => return Ok(()),
            Ok(read) => drop(read?),
            Err(_) => stream.write_all(&word).await?,
        }
    }
}
