//! Files of partially signed transactions (BIP 174): read in either form in use, written in binary.

use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
};

use anyhow::{Context, bail, ensure};
use bitcoin::base64::{Engine, engine::general_purpose::STANDARD};

/// What a binary file begins with (BIP 174).
const MAGIC: &[u8] = b"psbt\xff";
/// The largest file that is read: more than any payout in base64.
const MAX_FILE_BYTES: u64 = 12 << 20;

/// Reads a file, binary or base64, and returns the binary form. What is in it is not looked at.
///
/// # Errors
///
/// When it cannot be read, or is in neither form.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut content = Vec::new();
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let read = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut content);
    read.with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(content.len() as u64 <= MAX_FILE_BYTES, "{} is too large for a payout", path.display());
    if content.starts_with(MAGIC) {
        return Ok(content);
    }
    let text: Vec<u8> = content.into_iter().filter(|byte| !byte.is_ascii_whitespace()).collect();
    match STANDARD.decode(text) {
        Ok(content) if content.starts_with(MAGIC) => Ok(content),
        _ => bail!("{} holds no PSBT, neither binary nor base64 (BIP 174)", path.display()),
    }
}

/// Writes a new file in binary form.
///
/// # Errors
///
/// When the file exists or cannot be written.
pub(super) fn write(path: &Path, psbt: &[u8]) -> anyhow::Result<()> {
    let written = File::create_new(path).and_then(|mut file| {
        file.write_all(psbt)?;
        file.sync_all()
    });
    written.with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn both_forms_are_read_alike_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("payout.psbt");
        let psbt = [MAGIC, b"anything"].concat();
        write(&path, &psbt).unwrap();
        assert_eq!(read(&path).unwrap(), psbt);
        let text = STANDARD.encode(&psbt);
        let (first, second) = text.split_at(10);
        fs::write(&path, format!("{first}\n{second}\n")).unwrap();
        assert_eq!(read(&path).unwrap(), psbt);
        for wrong in ["", "not a transaction", "cHNidA=="] {
            fs::write(&path, wrong).unwrap();
            assert!(read(&path).unwrap_err().to_string().contains("holds no PSBT"), "{wrong}");
        }
    }

    #[test]
    fn existing_file_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("payout.psbt");
        fs::write(&path, "precious").unwrap();
        assert!(write(&path, MAGIC).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
