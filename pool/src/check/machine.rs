//! The machine: folder, disk, open files and port.

use std::{io, net::SocketAddr, os::unix::fs::MetadataExt, path::Path};

use bitcoin::Network;
use nix::{
    errno::Errno,
    sys::{
        resource::{Resource, getrlimit},
        statvfs::statvfs,
    },
    unistd::{AccessFlags, access},
};
use tokio::net::{TcpSocket, lookup_host};

use super::{CheckId, Finding};
use crate::{
    config::{Config, StoreConfig},
    control::{self, OTHERS_WRITE},
    descriptors,
};

/// Below this much room, the books cannot be kept for long. In bytes.
pub const LEAST_ROOM: u64 = 512 << 20;
/// Below this much room, it is time to do something. In bytes.
pub const LITTLE_ROOM: u64 = 5 << 30;

pub(super) async fn check(config: &Config) -> Vec<Finding> {
    let mut findings = vec![data_folder(&config.data_dir), disk_space(&config.data_dir)];
    if let StoreConfig::Sqlite(file) = &config.store {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if folder != config.data_dir {
            findings.push(disk_space(folder));
        }
    }
    findings.push(open_files(config.stratum.max_connections));
    findings.push(port(CheckId::Port, config.stratum.listen, &config.data_dir).await);
    findings.push(public_host(config).await);
    findings
}

fn data_folder(folder: &Path) -> Finding {
    let shown = folder.display();
    let mode = match folder.metadata() {
        Ok(metadata) => metadata.mode() & 0o7777,
        Err(error) => return Finding::error(CheckId::DataFolder, format!("{shown} cannot be looked at: {error}")),
    };
    if mode & OTHERS_WRITE != 0 {
        let message = format!("{shown} has mode {mode:04o}, so that others may change it: the pool does not start");
        return Finding::error(CheckId::DataFolder, message);
    }
    match access(folder, AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK) {
        Ok(()) => Finding::ok(CheckId::DataFolder, format!("{shown} is for its owner alone")),
        Err(error) => Finding::error(CheckId::DataFolder, format!("{shown} cannot be written to: {}", error.desc())),
    }
}

fn disk_space(folder: &Path) -> Finding {
    let shown = folder.display();
    match free_space(folder) {
        Ok(free) => judge_space(&shown.to_string(), free),
        Err(error) => Finding::warning(CheckId::DiskSpace, format!("{shown}: free space is not known: {error}")),
    }
}

/// Returns how many bytes can still be written where a folder is.
///
/// # Errors
///
/// What the system says of it.
pub fn free_space(folder: &Path) -> Result<u64, &'static str> {
    let disk = statvfs(folder).map_err(Errno::desc)?;
    Ok(disk.blocks_available().saturating_mul(disk.fragment_size()))
}

fn judge_space(folder: &str, free: u64) -> Finding {
    let message = format!("{folder} has {} MiB free", free >> 20);
    match free {
        0..LEAST_ROOM => Finding::error(CheckId::DiskSpace, message),
        LEAST_ROOM..LITTLE_ROOM => Finding::warning(CheckId::DiskSpace, message),
        _ => Finding::ok(CheckId::DiskSpace, message),
    }
}

fn open_files(connections: usize) -> Finding {
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((_, hard)) => match descriptors::fitting(connections, hard) {
            fitting if fitting < connections => {
                let message = format!("{hard} open files are allowed: room for {fitting} of {connections} connections");
                Finding::warning(CheckId::OpenFiles, message)
            }
            _ => Finding::ok(CheckId::OpenFiles, format!("{hard} are allowed, enough for {connections} connections")),
        },
        Err(error) => Finding::warning(CheckId::OpenFiles, format!("the limit is not known: {}", error.desc())),
    }
}

/// Tells whether the pool of a folder can listen where it shall, or does.
pub(super) async fn port(check: CheckId, address: SocketAddr, data_dir: &Path) -> Finding {
    match listen(address) {
        Ok(()) => Finding::ok(check, format!("{address} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => match control::is_served(data_dir).await {
            true => Finding::ok(check, format!("{address} is held while the pool of this folder runs")),
            false => Finding::error(check, format!("{address} is in use by another program")),
        },
        Err(error) => Finding::error(check, format!("{address} cannot be listened on: {error}")),
    }
}

/// Listens for a moment, as the pool would. Nobody is accepted.
fn listen(address: SocketAddr) -> io::Result<()> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1).map(drop)
}

async fn public_host(config: &Config) -> Finding {
    let Some(host) = &config.stratum.public_host else {
        let listen = config.stratum.listen;
        let is_public = !listen.ip().is_unspecified() || config.network == Network::Regtest;
        return match is_public {
            true => Finding::ok(CheckId::PublicHost, "miners are given the address that is listened on"),
            false => Finding::warning(CheckId::PublicHost, "not set: the miners' URL says localhost"),
        };
    };
    let port = config.stratum.listen.port();
    let name = if crate::config::has_port(host) { host.clone() } else { format!("{host}:{port}") };
    match lookup_host(&name).await.map(|mut found| found.next()) {
        Ok(Some(address)) => Finding::ok(CheckId::PublicHost, format!("{host} is {}", address.ip())),
        Ok(None) => Finding::warning(CheckId::PublicHost, format!("{host} has no address")),
        Err(error) => Finding::warning(CheckId::PublicHost, format!("{host} is not found from here: {error}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::check::Severity;

    #[test]
    fn folder_that_others_may_change_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        for (mode, severity) in [(0o700, Severity::Ok), (0o755, Severity::Ok), (0o770, Severity::Error)] {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(data_folder(dir.path()).severity, severity, "{mode:o}");
        }
        assert_eq!(data_folder(&dir.path().join("nowhere")).severity, Severity::Error);
    }

    #[test]
    fn room_is_judged_by_what_is_left() {
        let judged = |free| judge_space("data", free).severity;
        assert_eq!(judged(LEAST_ROOM - 1), Severity::Error);
        assert_eq!(judged(LEAST_ROOM), Severity::Warning);
        assert_eq!(judged(LITTLE_ROOM - 1), Severity::Warning);
        assert_eq!(judged(LITTLE_ROOM), Severity::Ok);
        let dir = tempfile::tempdir().unwrap();
        assert!(disk_space(dir.path()).message.contains("MiB free"));
    }

    #[test]
    fn files_are_counted_for_all_connections() {
        assert_eq!(open_files(1).severity, Severity::Ok);
        assert_eq!(open_files(usize::MAX).severity, Severity::Warning);
    }

    #[tokio::test]
    async fn port_that_somebody_listens_on_is_in_use() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert_eq!(listen(address).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(taken);
        listen(address).unwrap();
    }
}
