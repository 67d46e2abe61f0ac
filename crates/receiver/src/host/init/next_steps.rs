//! What is to be copied to the repository after `init`. Pure.

use std::fmt::Write as _;

use crate::paths::Paths;
use autotag_model::secret::Secret;
use autotag_protocol::AppName;

/// What the texts are made of.
#[derive(Debug)]
pub struct NextSteps<'a> {
    /// The application.
    pub app: &'a AppName,
    /// How CI reaches this host; none: as was said before, and is not known here.
    pub host: Option<&'a str>,
    /// sshd's port.
    pub port: u16,
    /// The texts of the host's public keys, as sshd keeps them.
    pub host_keys: &'a [String],
    /// The private key, where one was made.
    pub private_key: Option<&'a Secret>,
}

/// The lines that known_hosts has for this host (sshd(8)): a port other than 22 is part of the name.
pub fn known_hosts(host: &str, port: u16, host_keys: &[String]) -> String {
    let name = if port == 22 { host.to_owned() } else { format!("[{host}]:{port}") };
    host_keys.iter().fold(String::new(), |mut lines, key| {
        let mut words = key.split_whitespace();
        if let Some((kind, blob)) = words.next().zip(words.next()) {
            let _ = writeln!(lines, "{name} {kind} {blob}");
        }
        lines
    })
}

/// All of it.
pub fn text(next_steps: &NextSteps<'_>) -> String {
    let NextSteps { app, host, port, host_keys, private_key } = next_steps;
    let mut text = "\nRun this where `gh` is logged in, in a clone of the repository:\n\n".to_owned();
    match private_key {
        Some(key) => {
            let key = key.reveal().trim_end();
            let _ = write!(
                text,
                "# The private key is shown only this once, and is not stored on this server.\n\
                 gh secret set DEPLOY_KEY <<'KEY'\n{key}\nKEY\n"
            );
        }
        None => {
            text.push_str("# DEPLOY_KEY: unchanged, the private half of the key that is set up already.\n");
        }
    }
    match host {
        Some(host) => {
            let hosts = known_hosts(host, *port, host_keys);
            let _ = write!(
                text,
                "gh variable set DEPLOY_KNOWN_HOSTS <<'HOSTS'\n{hosts}HOSTS\n\
                 gh variable set DEPLOY_HOST --body {host}\n"
            );
        }
        None => text.push_str(
            "# DEPLOY_KNOWN_HOSTS, DEPLOY_HOST: unchanged. To print them again, add the name by which workflows reach this host: --public-name NAME\n",
        ),
    }
    text.push_str(
        "\nThe step that deploys needs these inputs; the workflow in docs/getting-started.md has those without a comment:\n\n    deploy-host: ${{ vars.DEPLOY_HOST }}\n",
    );
    if *port != 22 {
        let _ = writeln!(text, "    deploy-port: {port} # sshd's port here");
    }
    let _ = write!(
        text,
        "    deploy-key: ${{{{ secrets.DEPLOY_KEY }}}}\n\
         \x20   deploy-known-hosts: ${{{{ vars.DEPLOY_KNOWN_HOSTS }}}}\n\
         \x20   deploy-app: {app} # only if the last part of the image's name differs\n",
    );
    if host_keys.is_empty() {
        text.push_str("\nThis host has no SSH keys yet: install openssh-server, and run this again for the lines of DEPLOY_KNOWN_HOSTS.\n");
    }
    text
}

/// What to run by hand where systemd does not.
pub fn without_systemd(paths: &Paths) -> String {
    let program = paths.program();
    let program = program.display();
    format!(
        "\nsystemd does not run this machine. Let its init system keep these two running, in this order:\n\n\
         \x20   setpriv --reuid autotag_proxy --regid autotag_proxy --clear-groups {program} proxy\n\
         \x20   {program} serve\n\n\
         The first one needs {} after each boot, autotag_proxy's and 0700; for ports below 1024 it needs\n\
         CAP_NET_BIND_SERVICE (setpriv --ambient-caps +net_bind_service --inh-caps +net_bind_service).\n\
         Reload sshd, so that it reads {}.\n",
        paths.proxy_run().display(),
        paths.sshd_part().display(),
    )
}
