//! systemd's units.
//!
//! Each address has a socket unit of its own. A new address is added by writing its unit and restarting the
//! proxy's service: in that one transaction systemd stops the service, opens the new socket, and starts the
//! service with all of them, while the sockets that were there stay open and hold their clients in their
//! queues. With one unit for all addresses every one of them would be closed for a moment.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use crate::config::app_file::Listen;
use crate::paths::{PROXY_USER, Paths};
use autotag_model::reference::Digest;
use autotag_proxy::bounds::limits::Limits;

/// The unit of `serve`.
pub const SERVE: &str = "autotag.service";
/// The unit of the proxy.
pub const PROXY: &str = "autotag-proxy.service";
/// How the names of the sockets' units begin.
pub const SOCKET_PREFIX: &str = "autotag-proxy-";

const HEAD: &str =
    "# Written by `autotag-receiver init`, and written again by it. For changes: systemctl edit";

/// The name of the unit of this address: letters that systemd allows in one (systemd.unit(5)).
pub fn socket_name(listen: &Listen) -> String {
    match listen {
        Listen::Tcp(address) => format!("{SOCKET_PREFIX}{}-{}.socket", address.ip(), address.port()),
        Listen::Unix(path) => {
            let digest = Digest::of(path.as_os_str().as_encoded_bytes()).to_string();
            let hash: String = digest.trim_start_matches("sha256:").chars().take(12).collect();
            format!("{SOCKET_PREFIX}unix-{hash}.socket")
        }
    }
}

/// One address.
pub fn socket(listen: &Listen) -> String {
    let more = match listen {
        // FreeBind: an address that the network brings later is no reason to fail at boot.
        Listen::Tcp(_) => "BindIPv6Only=both\nFreeBind=yes\n",
        // Whoever comes in here is believed about who their clients are: root alone, until its owner says which group.
        Listen::Unix(_) => {
            "# For a front proxy that is not root's: `systemctl edit` with [Socket] and \
             SocketGroup=www-data.\n\
             SocketMode=0660\n"
        }
    };
    format!(
        "{HEAD} {name}\n\
         [Unit]\n\
         Description=autotag-deploy: clients at {listen}\n\
         \n\
         [Socket]\n\
         ListenStream={listen}\n\
         {more}\
         Backlog=4096\n\
         Service={PROXY}\n\
         # A proxy that cannot start is no reason to turn clients away.\n\
         TriggerLimitIntervalSec=0\n\
         \n\
         [Install]\n\
         WantedBy=sockets.target\n",
        name = socket_name(listen)
    )
}

/// The proxy: nobody's rights, no capability, no writable place but its own directory.
pub fn proxy(paths: &Paths, listens: &BTreeSet<Listen>) -> String {
    let limits = Limits::default();
    let end = limits.lame_duck + limits.shutdown + limits.close_grace + Duration::from_secs(10);
    let mut sockets = String::new();
    for listen in listens {
        let _ = writeln!(sockets, "Sockets={}", socket_name(listen));
    }
    format!(
        "{HEAD} {PROXY}\n\
         [Unit]\n\
         Description=autotag-deploy: the traffic proxy\n\
         StartLimitIntervalSec=0\n\
         \n\
         [Service]\n\
         Type=exec\n\
         ExecStart={program} proxy\n\
         {sockets}\
         User={PROXY_USER}\n\
         Group={PROXY_USER}\n\
         RuntimeDirectory=autotag-proxy\n\
         RuntimeDirectoryMode=0700\n\
         RuntimeDirectoryPreserve=yes\n\
         Restart=always\n\
         RestartSec=200ms\n\
         # It ends when its requests have ended; its own bounds come first.\n\
         TimeoutStopSec={end}\n\
         LimitNOFILE=65536\n\
         {BOUNDED}\
         UMask=0077\n\
         NoNewPrivileges=yes\n\
         CapabilityBoundingSet=\n\
         ProtectSystem=strict\n\
         ProtectHome=yes\n\
         # It knows root and itself, and no other user; its addresses are systemd's sockets.\n\
         PrivateUsers=yes\n\
         SocketBindDeny=any\n\
         {HARDENED}\
         SystemCallFilter=~@privileged @resources\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n",
        program = paths.program().display(),
        end = end.as_secs(),
    )
}

/// `serve`: root, because who may talk to Docker is root anyway; but only as much of it as it needs.
pub fn serve(paths: &Paths) -> String {
    format!(
        "{HEAD} {SERVE}\n\
         [Unit]\n\
         Description=autotag-deploy: deployments\n\
         Wants=docker.service {PROXY}\n\
         After=docker.service {PROXY}\n\
         StartLimitIntervalSec=0\n\
         \n\
         [Service]\n\
         Type=exec\n\
         ExecStart={program} serve\n\
         RuntimeDirectory=autotag\n\
         RuntimeDirectoryMode=0750\n\
         RuntimeDirectoryPreserve=yes\n\
         Restart=always\n\
         RestartSec=1s\n\
         # A running deployment finishes first.\n\
         TimeoutStopSec=90s\n\
         # Each of the applications' users may have 64 connections.\n\
         LimitNOFILE=65536\n\
         UMask=0077\n\
         NoNewPrivileges=yes\n\
         # Its socket's group; the proxy's directory and env files that are not root's.\n\
         CapabilityBoundingSet=CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER\n\
         ProtectSystem=strict\n\
         ReadWritePaths={state}\n\
         ProtectHome=read-only\n\
         {HARDENED}\
         SystemCallFilter=~@resources\n\
         # What reads a log for a client holds 2 MiB of it; deployments hold little.\n\
         MemoryMax=1G\n\
         TasksMax=1024\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n",
        program = paths.program().display(),
        state = paths.all_state().display(),
    )
}

/// Whatever a client makes of it, the applications and sshd have the other half.
const BOUNDED: &str = "MemoryMax=50%\n\
    TasksMax=512\n";

/// What neither of them needs. `systemd-analyze security` rates both units in a test (`server_setup`).
const HARDENED: &str = "PrivateTmp=yes\n\
    PrivateDevices=yes\n\
    DevicePolicy=closed\n\
    PrivateMounts=yes\n\
    ProtectProc=invisible\n\
    ProcSubset=pid\n\
    RemoveIPC=yes\n\
    KeyringMode=private\n\
    LimitCORE=0\n\
    ProtectClock=yes\n\
    ProtectControlGroups=yes\n\
    ProtectHostname=yes\n\
    ProtectKernelLogs=yes\n\
    ProtectKernelModules=yes\n\
    ProtectKernelTunables=yes\n\
    LockPersonality=yes\n\
    MemoryDenyWriteExecute=yes\n\
    RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\n\
    RestrictNamespaces=yes\n\
    RestrictRealtime=yes\n\
    RestrictSUIDSGID=yes\n\
    SystemCallArchitectures=native\n\
    SystemCallErrorNumber=EPERM\n\
    SystemCallFilter=@system-service\n";
