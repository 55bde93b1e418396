//! Passwords, which come from files and go nowhere but to the server.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use tripline_relay::secret;

/// A password: it has no form to be shown in.
pub(super) struct Secret(String);

impl Secret {
    /// The longest password, in bytes.
    const BYTES_MAX: usize = 1024;

    /// Reads a password from the first line of a file that only its owner may
    /// read.
    ///
    /// # Errors
    ///
    /// A sentence with the file's name and without anything that is in it.
    pub(super) fn read(file: &Path) -> Result<Self, String> {
        let opened = open(file)?;
        check_owner(&opened, file)?;
        Self::read_from(opened, file)
    }

    /// Whether one could be read, by whoever will: the administrator looks also at files of
    /// the one that the daemon will be.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    pub(super) fn look(file: &Path) -> Result<(), String> {
        let opened = open(file)?;
        if !rustix::process::geteuid().is_root() {
            check_owner(&opened, file)?;
        }
        Self::read_from(opened, file).map(drop)
    }

    fn read_from(opened: File, file: &Path) -> Result<Self, String> {
        let shown = file.display();
        let mut text = String::new();
        opened
            .take(Self::BYTES_MAX as u64 + 2)
            .read_to_string(&mut text)
            .map_err(|error| format!("cannot read the password in {shown}: {error}"))?;
        let line = text.strip_suffix('\n').unwrap_or(&text);
        let line = line.strip_suffix('\r').unwrap_or(line);
        if line.is_empty() || line.len() > Self::BYTES_MAX {
            return Err(format!(
                "{shown} must hold a password of 1 to {} bytes, and nothing else",
                Self::BYTES_MAX
            ));
        }
        if line.contains(char::is_control) {
            return Err(format!("{shown} must hold a password in one line"));
        }
        Ok(Self(line.to_owned()))
    }

    /// The password itself, for the wire.
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

fn open(file: &Path) -> Result<File, String> {
    secret::open_private(file).map_err(|refused| format!("the password: {refused}"))
}

fn check_owner(opened: &File, file: &Path) -> Result<(), String> {
    let shown = file.display();
    let about = opened
        .metadata()
        .map_err(|error| format!("cannot look at the password file {shown}: {error}"))?;
    let us = rustix::process::geteuid().as_raw();
    if about.uid() != us && about.uid() != 0 {
        return Err(format!(
            "the password file {shown} belongs to the user {}: run `chown {us} {shown}`",
            about.uid()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn passwords_are_read_from_files_of_their_owner() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("password");
        let write = |bytes: &[u8], mode| {
            std::fs::write(&file, bytes).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode))
                .unwrap();
            Secret::read(&file)
        };
        for text in ["s3cret pass", "s3cret pass\n", "s3cret pass\r\n"] {
            let secret = write(text.as_bytes(), 0o600).unwrap();
            assert_eq!(secret.expose(), "s3cret pass");
            assert_eq!(format!("{secret:?}"), "Secret");
        }
        for (mode, bytes, words) in [
            (0o640, &b"s3cret"[..], "chmod 600"),
            (0o604, b"s3cret", "chmod 600"),
            (0o600, b"", "1 to 1024 bytes"),
            (0o600, &[b'x'; 2000], "1 to 1024 bytes"),
            (0o600, b"s3cret\nmore\n", "in one line"),
            (0o600, b"s3cret\0", "in one line"),
            (0o600, b"s3cret\xff", "cannot read"),
        ] {
            let error = write(bytes, mode).unwrap_err();
            assert!(error.contains(words), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
        write(b"s3cret", 0o600).unwrap();
        Secret::look(&file).unwrap();
        write(b"s3cret", 0o640).unwrap_err();
        assert!(Secret::look(&file).unwrap_err().contains("chmod 600"));
        assert!(Secret::read(directory.path()).unwrap_err().contains("is not a file"));
        let missing = Secret::read(&directory.path().join("missing")).unwrap_err();
        assert!(missing.contains("the password: there is no file"), "{missing}");
    }
}
