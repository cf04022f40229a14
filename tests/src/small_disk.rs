//! A disk that is soon full: a tmpfs in a mount namespace of its own, which goes with the last process in it.
//!
//! An ordinary user may mount one in a namespace where he passes for root, and is himself again in another inside it.

use std::{
    fs, io,
    io::Write,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::Command,
};

/// Names the folder to the shell that mounts, and the disk to whoever runs on it.
pub const DISK: &str = "ADIT_TEST_DISK";

/// Returns a command to which the program with its arguments is still to be added. It runs with a disk of `size`, such
/// as `48m`, mounted at `folder`, which the variable [`DISK`] names to it.
///
/// # Errors
///
/// If the folder cannot be looked at.
pub fn mounted_at(folder: &Path, size: &str) -> io::Result<Command> {
    let owner = fs::metadata(folder)?;
    let mount = format!("mount -t tmpfs -o size={size},mode=0777 tmpfs \"${DISK}\"");
    let mut isolated = Command::new("unshare");
    if owner.uid() == 0 {
        isolated.args(["--mount", "sh", "-c", &format!("{mount} && exec \"$@\""), "sh"]);
    } else {
        let (uid, gid) = (owner.uid(), owner.gid());
        let again = format!("exec unshare --user --map-user={uid} --map-group={gid} \"$@\"");
        isolated.args(["--map-root-user", "--mount", "sh", "-c", &format!("{mount} && {again}"), "sh"]);
    }
    isolated.env(DISK, folder);
    Ok(isolated)
}

/// Takes all room on a disk, to the last byte; again, what has become free since.
///
/// # Errors
///
/// If no file can be made on it.
pub fn fill(disk: &Path) -> io::Result<()> {
    let mut file = fs::File::options().create(true).append(true).open(filler(disk))?;
    for size in [1 << 20, 1 << 12, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
    Ok(())
}

/// Gives back the room that [`fill`] took.
///
/// # Errors
///
/// If it was not taken.
pub fn empty(disk: &Path) -> io::Result<()> {
    fs::remove_file(filler(disk))
}

/// The file that takes what room there is.
fn filler(disk: &Path) -> PathBuf {
    disk.join("filler")
}
