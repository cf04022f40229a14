//! Where `bitcoind` comes from. Owns the order of search and the run of the build script; how to build is the
//! script's own business.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{Error, Result};

const BUILD_SCRIPT: &str = include_str!("../build-bitcoind.sh");

/// The folder inside the user's cache folder; its version is that of the package that the script builds.
const CACHE_FOLDER: &str = "adit/bitcoind-0.4.1";

/// Finds a `bitcoind`, or builds one, which takes minutes and happens once for each user.
///
/// In this order: the file that `BITCOIND_EXE` names, `bitcoind` on `PATH`, the one that was built before
/// ([`cached_executable`]), a new build. The build tells its progress on standard error.
///
/// # Errors
/// When `BITCOIND_EXE` names no executable file, when there is no cache folder, or when the build fails.
pub fn find_or_build() -> Result<PathBuf> {
    let cached = cached_executable();
    if let Some(found) = find(env::var_os("BITCOIND_EXE"), env::var_os("PATH"), cached.as_deref())? {
        return Ok(found);
    }
    let executable = cached.ok_or(Error::NoCacheFolder)?;
    build(&executable)?;
    Ok(executable)
}

/// The path where a build leaves `bitcoind`, whether or not it is there: `adit/bitcoind-0.4.1/bitcoind` in
/// `XDG_CACHE_HOME` or `~/.cache`.
pub fn cached_executable() -> Option<PathBuf> {
    let cache = match env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(env::var_os("HOME").filter(|path| !path.is_empty())?).join(".cache"),
    };
    Some(cache.join(CACHE_FOLDER).join("bitcoind"))
}

fn find(
    named: Option<std::ffi::OsString>,
    search_path: Option<std::ffi::OsString>,
    cached: Option<&Path>,
) -> Result<Option<PathBuf>> {
    if let Some(named) = named.filter(|path| !path.is_empty()) {
        // Whoever names one wants that one: falling back to another would hide the mistake.
        let named = PathBuf::from(named);
        return if is_executable(&named) { Ok(Some(named)) } else { Err(Error::NotExecutable(named)) };
    }
    let on_path = search_path.iter().flat_map(env::split_paths).map(|folder| folder.join("bitcoind"));
    Ok(on_path.chain(cached.map(Path::to_path_buf)).find(|candidate| is_executable(candidate)))
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

fn build(executable: &Path) -> Result<()> {
    let folder = executable.parent().ok_or(Error::NoCacheFolder)?;
    // A file rather than standard input, which the programs that the script starts would read from.
    let script = tempfile::Builder::new()
        .prefix("build-bitcoind")
        .suffix(".sh")
        .tempfile()
        .map_err(Error::io("create a temporary file"))?;
    fs::write(script.path(), BUILD_SCRIPT).map_err(Error::io("write the build script"))?;
    let status = Command::new("bash")
        .arg(script.path())
        .arg(folder)
        .stdin(Stdio::null())
        .status()
        .map_err(Error::io("run bash"))?;
    if status.success() && is_executable(executable) { Ok(()) } else { Err(Error::Build(status)) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn executable_in(folder: &Path) -> PathBuf {
        let path = folder.join("bitcoind");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn named_executable_comes_before_the_path_and_the_path_before_the_cache() {
        let (named, on_path, cached) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (named, folder, cached) =
            (executable_in(named.path()), on_path.path().as_os_str().to_owned(), executable_in(cached.path()));
        let on_path = executable_in(on_path.path());
        let found = |name, path| find(name, path, Some(&cached)).unwrap().unwrap();
        assert_eq!(found(Some(named.clone().into()), Some(folder.clone())), named);
        assert_eq!(found(None, Some(folder)), on_path);
        assert_eq!(found(None, None), cached);
    }

    #[test]
    fn file_that_cannot_be_run_is_passed_over_on_the_path_but_an_error_when_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = executable_in(folder.path());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(find(None, Some(folder.path().into()), None).unwrap(), None);
        assert!(matches!(find(Some(path.clone().into()), None, None), Err(Error::NotExecutable(p)) if p == path));
    }

    #[test]
    fn nothing_is_found_where_there_is_nothing() {
        assert_eq!(find(None, None, None).unwrap(), None);
    }
}
