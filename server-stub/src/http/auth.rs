//! Tokens: opaque, hashed at rest, one JSON line each; read anew when the file changes.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use haversack_protocol::{ChangeHash, Code, PrincipalId, Role};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::Service;
use super::problem::Problem;
use crate::ServerError;

const TOKEN_BYTES: usize = 32;

/// Whom a token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// The person.
    pub principal: PrincipalId,
    /// In which role.
    pub role: Role,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenLine {
    /// SHA-256 of the token's text, in hexadecimal.
    sha256: ChangeHash,
    principal: PrincipalId,
    role: Role,
}

/// A token that was admitted once and is looked at again later; only its hash is held.
#[derive(Clone)]
pub(super) struct Pass {
    sha256: [u8; 32],
    principal: PrincipalId,
}

type Known = BTreeMap<[u8; 32], Bearer>;

/// The tokens file as last read.
pub(crate) struct Tokens {
    path: PathBuf,
    read: Mutex<(Version, Arc<Known>)>,
}

/// What betrays that the file changed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Version {
    modified: Option<SystemTime>,
    length: u64,
}

impl Version {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        Ok(Self { modified: metadata.modified().ok(), length: metadata.len() })
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

fn read_file(path: &Path) -> Result<Known, ServerError> {
    let text = fs::read_to_string(path).map_err(ServerError::file(path))?;
    let mut known = Known::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let line: TokenLine = serde_json::from_str(line)
            .map_err(|_| ServerError::Tokens { path: path.to_owned(), line: at + 1 })?;
        known.insert(*line.sha256.as_bytes(), Bearer { principal: line.principal, role: line.role });
    }
    Ok(known)
}

impl Tokens {
    /// Reads the file.
    ///
    /// # Errors
    /// [`ServerError::File`] or [`ServerError::Tokens`].
    pub(crate) fn open(path: &Path) -> Result<Self, ServerError> {
        let version = Version::of(path).map_err(ServerError::file(path))?;
        let known = Arc::new(read_file(path)?);
        Ok(Self { path: path.to_owned(), read: Mutex::new((version, known)) })
    }

    /// The tokens as the file states them now. A file that cannot be read leaves the last reading in force.
    fn known(&self) -> Arc<Known> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(version) = Version::of(&self.path)
            && version != read.0
        {
            match read_file(&self.path) {
                Ok(known) => *read = (version, Arc::new(known)),
                Err(error) => tracing::error!(%error, "the tokens file was not taken over"),
            }
        }
        Arc::clone(&read.1)
    }

    /// Whom a token speaks for. Only hashes are compared, so the time it takes tells nothing about a token.
    fn bearer(&self, token: &str) -> Option<Bearer> {
        self.known().get(&sha256(token.as_bytes())).cloned()
    }
}

/// The token of a request that names exactly one.
fn only_token(headers: &HeaderMap) -> Option<&str> {
    let mut named = headers.get_all(AUTHORIZATION).iter();
    let only = named.next().filter(|_| named.next().is_none())?;
    let (scheme, token) = only.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

impl Service {
    /// What is kept of an admitted token to look at it again.
    pub(super) fn pass(bearer: &Bearer, headers: &HeaderMap) -> Pass {
        Pass {
            sha256: sha256(only_token(headers).unwrap_or_default().as_bytes()),
            principal: bearer.principal.clone(),
        }
    }

    /// Says whether a token still speaks for whom it did.
    pub(super) fn is_good(&self, pass: &Pass) -> bool {
        self.tokens.known().get(&pass.sha256).is_some_and(|bearer| bearer.principal == pass.principal)
    }

    /// Admits a request to a tenant. A tenant that does not exist answers like one the token is not for.
    pub(super) fn admit(&self, tenant: &str, headers: &HeaderMap) -> Result<Bearer, Problem> {
        let bearer = only_token(headers)
            .and_then(|token| self.tokens.bearer(token))
            .ok_or(Problem::new(Code::TokenExpired, "the token is missing, expired or unknown"))?;
        if tenant == self.law.identity.tenant.as_str() {
            Ok(bearer)
        } else {
            Err(Problem::new(Code::Tenant, "the token is not for this tenant"))
        }
    }
}

/// Makes a token, appends its hash to the file and returns its text, which is kept nowhere.
///
/// # Errors
/// [`ServerError::File`] when the file cannot be replaced; the old one then stands.
pub fn issue_token(tokens: &Path, principal: &PrincipalId, role: Role) -> Result<String, ServerError> {
    let mut secret = [0u8; TOKEN_BYTES];
    SystemRandom::new().fill(&mut secret).map_err(|_| ServerError::Random)?;
    let token = URL_SAFE_NO_PAD.encode(secret);
    let sha256 = ChangeHash::from_bytes(sha256(token.as_bytes()));
    let line = serde_json::to_string(&TokenLine { sha256, principal: principal.clone(), role })
        .expect("a token entry is plain JSON");
    let mut text = match fs::read_to_string(tokens) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => read.map_err(ServerError::file(tokens))?,
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(&line);
    text.push('\n');
    replace(tokens, text.as_bytes()).map_err(ServerError::file(tokens))?;
    Ok(token)
}

/// Writes a file only its owner reads; whoever opens it sees the old text or the new, never half of one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    #[cfg(unix)]
    if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_as_soon_as_it_is_issued_and_only_its_hash_is_kept() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("tokens.jsonl");
        let [kari, ola] = ["kari", "ola"].map(|name| PrincipalId::new(name).expect("plain"));
        let first = issue_token(&path, &kari, Role::Coordinator).expect("issued");
        let tokens = Tokens::open(&path).expect("read");
        let second = issue_token(&path, &ola, Role::Mentor).expect("issued");
        assert_eq!(tokens.bearer(&first), Some(Bearer { principal: kari, role: Role::Coordinator }));
        assert_eq!(tokens.bearer(&second), Some(Bearer { principal: ola, role: Role::Mentor }));
        assert_eq!(tokens.bearer("guess"), None);
        let text = fs::read_to_string(&path).expect("read");
        assert!(!text.contains(&first) && text.lines().count() == 2);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_reads_the_tokens_file() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("tokens.jsonl");
        let kari = PrincipalId::new("kari").expect("plain");
        issue_token(&path, &kari, Role::Mentor).expect("issued");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
