//! `HostConfig`: what the host gives the container.

use serde_json::Value;

use super::super::app_file::quoted;
use super::keys::AdoptedKeys;
use super::walk::{UntakenFields, text};

/// Values that Docker has by itself; the names are the Engine's.
const USUAL: &[(&str, &[&str])] = &[
    ("CgroupnsMode", &["host", "private"]),
    ("ConsoleSize", &["[0,0]"]),
    ("IpcMode", &["private", "shareable"]),
    ("Isolation", &["default"]),
    ("MemorySwappiness", &["-1"]),
    ("Runtime", &["runc", "io.containerd.runc.v2"]),
];

/// What is taken over, and what is noted. Mounts, ports and networks are read elsewhere.
pub(super) fn host(name: &str, host: &mut UntakenFields, keys: &mut AdoptedKeys) {
    restart(host, keys);
    let yes = |on: bool| on.then(|| "true".to_owned());
    keys.set("read_only", yes(host.flag("ReadonlyRootfs")));
    keys.set("init", yes(host.flag("Init")));
    for (key, field) in [("cap_drop", "CapDrop"), ("cap_add", "CapAdd"), ("group_add", "GroupAdd")] {
        keys.list(key, host.texts(field).unwrap_or_default());
    }
    for (key, field) in [("dns", "Dns"), ("dns_search", "DnsSearch"), ("dns_opt", "DnsOptions")] {
        keys.list(key, host.texts(field).unwrap_or_default());
    }
    keys.list("extra_hosts", host.texts("ExtraHosts").unwrap_or_default());
    keys.map("sysctls", host.map("Sysctls").into_iter().map(|(name, value)| (name, text(value))));
    devices(host, keys);
    limits(host, keys);
    log_and_rights(name, host, keys);
}

fn restart(host: &mut UntakenFields, keys: &mut AdoptedKeys) {
    let mut policy = UntakenFields::of("HostConfig.RestartPolicy", host.take("RestartPolicy"));
    let times = policy.number("MaximumRetryCount");
    let restart = match policy.text("Name").as_str() {
        "on-failure" if times > 0 => format!("on-failure:{times}"),
        "" | "no" => "\"no\"".to_owned(),
        other => other.to_owned(),
    };
    keys.set("restart", Some(restart));
}

fn devices(host: &mut UntakenFields, keys: &mut AdoptedKeys) {
    let devices = host.list("Devices").into_iter().map(|device| {
        let mut device = UntakenFields::of("", device);
        let words = ["PathOnHost", "PathInContainer", "CgroupPermissions"].map(|field| device.text(field));
        words.join(":")
    });
    keys.list("devices", devices);
}

fn limits(host: &mut UntakenFields, keys: &mut AdoptedKeys) {
    let bytes = |number: i64| (number > 0).then(|| format!("{number}b"));
    let memory = host.number("Memory");
    keys.set("mem_limit", bytes(memory));
    keys.set("mem_reservation", bytes(host.number("MemoryReservation")));
    // Twice the memory is what Docker makes of a limit without a word on swap.
    let swap = host.number("MemorySwap");
    if memory > 0 && swap != memory.saturating_mul(2) {
        keys.set("memswap_limit", if swap == -1 { Some("\"-1\"".to_owned()) } else { bytes(swap) });
    }
    let (nano, quota, period) = (host.number("NanoCpus"), host.number("CpuQuota"), host.number("CpuPeriod"));
    let period = if period > 0 { period } else { 100_000 };
    let nano = if nano == 0 && quota > 0 { quota.saturating_mul(1_000_000_000) / period } else { nano };
    keys.set("cpus", (nano > 0).then(|| quoted(&cpus(nano))));
    let some = |number: i64| (number != 0).then(|| number.to_string());
    keys.set("cpu_shares", some(host.number("CpuShares")));
    let cpuset = host.text("CpusetCpus");
    keys.set("cpuset", (!cpuset.is_empty()).then(|| quoted(&cpuset)));
    keys.set("oom_score_adj", some(host.number("OomScoreAdj")));
    // Docker's own size of /dev/shm is no word of the owner's.
    keys.set("shm_size", bytes(host.number("ShmSize")).filter(|size| size != "67108864b"));
    let ulimits: Vec<String> = host
        .list("Ulimits")
        .into_iter()
        .map(|limit| {
            let mut limit = UntakenFields::of("", limit);
            let (soft, hard) = (limit.number("Soft"), limit.number("Hard"));
            format!("{}: {{soft: {soft}, hard: {hard}}}", limit.text("Name"))
        })
        .collect();
    keys.set("ulimits", (!ulimits.is_empty()).then(|| format!("{{{}}}", ulimits.join(", "))));
}

/// Billionths as a decimal number.
fn cpus(nano: i64) -> String {
    let text = format!("{}.{:09}", nano / 1_000_000_000, nano % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// What deployments bound by default is told in one note, where this container is without the bound.
fn log_and_rights(name: &str, host: &mut UntakenFields, keys: &mut AdoptedKeys) {
    let mut more = Vec::new();
    let mut log = UntakenFields::of("HostConfig.LogConfig", host.take("LogConfig"));
    let (driver, options) = (log.text("Type"), log.map("Config"));
    let bounded = options.iter().any(|(name, _)| name == "max-size");
    if driver == "json-file" && !bounded {
        more.push("a log of at most 30 MB (`logging`)");
    }
    if !driver.is_empty() && (driver != "json-file" || !options.is_empty()) {
        let options: Vec<(String, String)> =
            options.into_iter().map(|(name, value)| (name, text(value))).collect();
        let options = match options.as_slice() {
            [] => String::new(),
            some => format!(", options: {}", super::keys::mapped(some)),
        };
        keys.set("logging", Some(format!("{{driver: {}{options}}}", quoted(&driver))));
    }
    let security = host.texts("SecurityOpt").unwrap_or_default();
    let gains = |word: &String| {
        word.strip_prefix("no-new-privileges").is_some_and(|rest| matches!(rest, "" | "=true" | ":true"))
    };
    if !security.iter().any(gains) {
        more.push("no-new-privileges, with which sudo does not work (`security_opt`)");
    }
    keys.list("security_opt", security.into_iter().filter(|word| !gains(word)));
    // An empty list is the trace of `--security-opt systempaths=unconfined`; Docker's own are long.
    for field in ["MaskedPaths", "ReadonlyPaths"] {
        if host.take(field).as_array().is_some_and(Vec::is_empty) {
            keys.note(format!(
                "`HostConfig.{field}` was left out: {name} sees paths that Docker hides or protects"
            ));
        }
    }
    match host.number("PidsLimit") {
        limit if limit > 0 => keys.set("pids_limit", Some(limit.to_string())),
        _ => more.push("at most 4096 processes (`pids_limit`)"),
    }
    if !more.is_empty() {
        keys.note(format!("deployments have bounds that {name} is without: {}", more.join(", ")));
    }
}

/// What nobody took over.
pub(super) fn rest(mut host: UntakenFields) -> Vec<String> {
    // Where a file of the command line lay; whether Docker hides stopped containers.
    host.ignore(&["ContainerIDFile"]);
    host.rest(USUAL)
}

/// Whether a container has everything of this machine.
pub(super) fn is_privileged(host: &Value) -> bool {
    host["Privileged"].as_bool().unwrap_or(false)
}
