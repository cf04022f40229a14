//! The systemd unit: what it starts, and what it keeps from it.

use std::collections::BTreeMap;

use super::read;

/// The settings of a section; of one that stands there more than once, all values.
fn section(name: &str) -> BTreeMap<String, Vec<String>> {
    let unit = read("deploy/adit.service");
    let lines = unit.lines().skip_while(|line| *line != format!("[{name}]")).skip(1);
    let lines = lines.take_while(|line| !line.starts_with('[')).filter(|line| !line.starts_with('#'));
    let mut section = BTreeMap::<String, Vec<String>>::new();
    for (key, value) in lines.filter_map(|line| line.split_once('=')) {
        section.entry(key.to_owned()).or_default().push(value.to_owned());
    }
    section
}

#[test]
fn unit_waits_for_a_config_and_for_readiness_and_watches() {
    let (unit, service) = (section("Unit"), section("Service"));
    assert_eq!(unit["ConditionPathExists"], ["/etc/adit/adit.toml"]);
    assert_eq!(service["ExecStart"], ["/usr/bin/adit run --config /etc/adit/adit.toml"]);
    assert_eq!(service["Type"], ["notify"]);
    // The pool may wait for its node for as long as it takes.
    assert_eq!(service["TimeoutStartSec"], ["infinity"]);
    assert_eq!(service["ExecReload"], ["/bin/kill -HUP $MAINPID"]);
    // Its own time-outs: connections for ten seconds, then each task for as long.
    assert!(service["TimeoutStopSec"][0].parse::<u32>().unwrap() >= 60);
    // Five times that is longer than any time-out of the stores, of which the longest is five minutes.
    assert!(5 * service["WatchdogSec"][0].parse::<u32>().unwrap() > 5 * 60);
    // A pool that has ended because a part of it died comes back, however often; a wrong configuration is not tried again.
    assert_eq!((&*service["Restart"][0], &*unit["StartLimitIntervalSec"][0]), ("on-failure", "0"));
    assert_eq!(service["RestartPreventExitStatus"], ["2 3"]);
    assert_eq!(section("Install")["WantedBy"], ["multi-user.target"]);
}

#[test]
fn unit_has_no_rights_that_the_pool_does_not_need() {
    let service = section("Service");
    assert_eq!((&*service["User"][0], &*service["StateDirectory"][0]), ("adit", "adit"));
    assert_eq!(service["ProtectSystem"], ["strict"]);
    for key in [
        "LockPersonality",
        "MemoryDenyWriteExecute",
        "NoNewPrivileges",
        "PrivateDevices",
        "PrivateTmp",
        "ProtectControlGroups",
        "ProtectHome",
        "ProtectKernelModules",
        "ProtectKernelTunables",
        "RestrictNamespaces",
        "RestrictSUIDSGID",
    ] {
        assert_eq!(service[key], ["yes"], "{key}");
    }
    assert_eq!(
        (&service["CapabilityBoundingSet"], &service["UMask"]),
        (&vec![String::new()], &vec!["0077".to_owned()])
    );
    assert_eq!(service["SystemCallFilter"], ["@system-service", "~@privileged"]);
    assert_eq!(service["RestrictAddressFamilies"], ["AF_INET AF_INET6 AF_UNIX"]);
    assert!(service["LimitNOFILE"][0].parse::<u64>().unwrap() > 10_128, "stratum.max_connections, and some more");
}
