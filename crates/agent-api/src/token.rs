//! The token that opens the local API: made once, kept in a file for its owner alone.

use std::{
    fmt,
    fs::{self, OpenOptions, Permissions},
    hint::black_box,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use holdfast_ports::tokens::SecretHash;

/// Shortest token in characters that is taken from the file: what people put there themselves is to be worth something.
const SHORTEST: usize = 16;

/// The token. Only its hash is kept in memory.
#[derive(Debug, Clone)]
pub struct LocalToken {
    hash: SecretHash,
    path: PathBuf,
}

/// The token's file can't be used.
#[derive(Debug)]
pub struct TokenError {
    path: PathBuf,
    what: &'static str,
    source: io::Error,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            what,
            source: _,
        } = self;
        write!(f, "{what} the local token's file {}", path.display())
    }
}

impl std::error::Error for TokenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl LocalToken {
    /// The token that `path` holds; if there is no such file, it is made, with `fresh` in it. Nobody but the owner can read
    /// it after that, whatever it was before.
    ///
    /// # Errors
    /// If the file can't be read or made, or holds no token.
    pub fn in_file(path: &Path, fresh: &str) -> Result<Self, TokenError> {
        let failed = |what| {
            move |source| TokenError {
                path: path.to_owned(),
                what,
                source,
            }
        };
        let text = match fs::read_to_string(path) {
            Ok(text) => {
                fs::set_permissions(path, Permissions::from_mode(0o600))
                    .map_err(failed("keeping others out of"))?;
                text
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(path, fresh).map_err(failed("making"))?;
                fresh.to_owned()
            }
            Err(error) => return Err(failed("reading")(error)),
        };
        let token = text.trim();
        if token.chars().count() < SHORTEST {
            let why = format!(
                "expected a token of at least {SHORTEST} characters, found {}: remove the file, and another one is made",
                token.chars().count()
            );
            return Err(failed("reading")(io::Error::other(why)));
        }
        Ok(Self {
            hash: SecretHash::of(token),
            path: path.to_owned(),
        })
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Is it this one? Takes as long whatever was given.
    pub(crate) fn is(&self, given: &str) -> bool {
        is_same(&self.hash, &SecretHash::of(given))
    }
}

/// Made whole before it has its name: a crash leaves no half a token.
fn make(path: &Path, token: &str) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

/// Are two hashes the same? Looks at every byte of both.
pub(crate) fn is_same(one: &SecretHash, other: &SecretHash) -> bool {
    let differing = one
        .0
        .iter()
        .zip(&other.0)
        .fold(0, |differing, (one, other)| {
            black_box(differing | (one ^ other))
        });
    differing == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_told_apart_by_each_of_their_bytes() {
        let hash = SecretHash::of("token");
        assert!(is_same(&hash, &SecretHash::of("token")));
        for byte in 0..32 {
            let mut other = hash;
            other.0[byte] ^= 1;
            assert!(!is_same(&hash, &other), "byte {byte}");
        }
    }
}
