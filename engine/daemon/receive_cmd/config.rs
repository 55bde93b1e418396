//! The configuration of a receiver, `receive.ron`.

use crate::config::{ConfigError, decode, read_bounded};
use crate::kind;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tripline_api::{Args, ArgsError, Argument, Looked, SecretFile, Wants};
use tripline_diagnose::{Block, Diagnostic, Node, Outline, Shape, SourceFile};
use tripline_relay::key::SharedKey;
use tripline_relay::receive::{Certificates, Peer, Settings};
use tripline_relay::wire::is_name;

/// A configuration of a receiver in which everything is sound.
pub(crate) struct ReceiveConfig {
    /// What it says.
    pub(crate) settings: Settings,
    /// What is probably not meant that way, or will not work as it is now: files with keys
    /// that are there and cannot be used are errors to who only checks.
    pub(crate) warnings: Vec<Diagnostic>,
}

/// What is written in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    listen: String,
    to: PathBuf,
    state: PathBuf,
    #[serde(default)]
    peers: BTreeMap<String, WrittenPeer>,
    tls: Option<WrittenTls>,
    connections_max: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPeer {
    shared_key: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTls {
    certificate: PathBuf,
    key: PathBuf,
    ca: PathBuf,
}

/// The same, as it is described.
pub(crate) const ARGUMENTS: &[Argument] = &[
    Argument::needed(
        "listen",
        Wants::Text,
        r#""0.0.0.0:6515""#,
        "The address and port where senders call.",
    ),
    Argument::needed(
        "to",
        Wants::Path,
        r#""received""#,
        "The directory of the files: \"PEER/SOURCE/...\".",
    ),
    Argument::needed(
        "state",
        Wants::Path,
        r#""receiver-state""#,
        "A directory of its own, not in `to` and on a local disk: what was received.",
    ),
    Argument::optional(
        "peers",
        Wants::Blocks(PEER),
        r#"{"web1": (shared_key: "web1.key"), "web2": ()}"#,
        "Who may send. Not needed where `listen` is an address of this machine alone, such \
         as \"127.0.0.1:6515\".",
    ),
    Argument::optional(
        "tls",
        Wants::Block(TLS),
        r#"(certificate: "server.pem", key: "server.key", ca: "ca.pem")"#,
        "For peers without a shared key: they prove themselves by a certificate with their \
         name among its DNS names.",
    ),
    Argument::optional(
        "connections_max",
        Wants::Number(1, Settings::CONNECTIONS_MAX as u64),
        "16",
        "At most so many senders at the same time.",
    )
    .or_number(CONNECTIONS as u64),
];

const PEER: &[Argument] = &[Argument::optional(
    "shared_key",
    Wants::Path,
    r#""web1.key""#,
    "A file of mode 0600 with 64 hexadecimal digits (`openssl rand -hex 32`), the same as \
     the sender's and another for each peer. Unless given it needs a certificate.",
)];

const TLS: &[Argument] = &[
    Argument::needed("certificate", Wants::Path, r#""server.pem""#, "Ours (PEM)."),
    Argument::needed(
        "key",
        Wants::Path,
        r#""server.key""#,
        "Its key (PEM), readable by nobody but its owner.",
    ),
    Argument::needed(
        "ca",
        Wants::Path,
        r#""ca.pem""#,
        "Who must have signed those of the peers (PEM).",
    ),
];

/// What a receiver does not promise.
pub(crate) const LIMITS: &[&str] = &[
    "Nobody else may write to its files; let them be rotated by renaming. A line that was \
     partly written at that moment goes on in the next file.",
    "A line feed is added behind a line that has none and is followed by another in the same \
     file, and noted.",
    "When its state is lost or brought back from a backup, or a file was rotated **and \
     compressed** or moved elsewhere (`olddir`) before a receiver that was killed is there \
     again, up to 32 MiB a sender may come twice.",
];

pub(crate) const EXAMPLE: &str = "(listen: \"0.0.0.0:6515\", to: \"received\", state: \"state\", \
                       peers: {\"web1\": (shared_key: \"web1.key\")})";
const CONNECTIONS: usize = 128;

impl ReceiveConfig {
    /// Reads a configuration. Touches nothing but the file and the keys it names.
    ///
    /// # Errors
    ///
    /// With what is wrong, and where.
    pub(crate) fn load(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |cause| ConfigError::Unreadable { path: path.to_owned(), cause };
        let bytes = read_bounded(path).map_err(unreadable)?;
        let absolute = std::path::absolute(path).map_err(unreadable)?;
        let directory = absolute.parent().unwrap_or_else(|| Path::new("/"));
        let (file, problem) = decode(path, bytes);
        if let Some(what) = kind::no_receiver(path, &file.text) {
            return Err(ConfigError::Another(what));
        }
        let outline = Outline::of(&file);
        let mut wrong: Vec<Diagnostic> =
            problem.into_iter().chain(outline.problems).collect();
        if !wrong.is_empty() {
            tripline_diagnose::sort(&mut wrong);
            return Err(ConfigError::Wrong(wrong));
        }
        let Some(Node { shape: Shape::Block(block), .. }) = &outline.root else {
            return Err(empty(&file));
        };
        let read = Args::new(&file.text).parse::<Written>();
        let settings = read.and_then(|written| written.settings(directory));
        let settings = settings.and_then(|settings| match same_key(&settings) {
            Some([one, two]) => Err(ArgsError::new(format!(
                "`peers` has one key for {one} and {two}: each could send as the other. \
                 Make one for each"
            ))),
            None => Ok(settings),
        });
        match settings {
            Ok(settings) => {
                let warnings = warnings(&file, block, &settings);
                Ok(Self { settings, warnings })
            }
            Err(error) => Err(ConfigError::Wrong(vec![in_place(&file, block, &error)])),
        }
    }
}

impl Written {
    fn settings(self, directory: &Path) -> Result<Settings, ArgsError> {
        let listen: SocketAddr = self.listen.parse().map_err(|_| {
            ArgsError::new(format!(
                "`listen` is {:?}: write an address and a port, such as \"0.0.0.0:6515\" \
                 or \"[::1]:6515\"",
                self.listen
            ))
        })?;
        for (name, path) in [("to", &self.to), ("state", &self.state)] {
            if path.as_os_str().is_empty()
                || path.as_os_str().as_encoded_bytes().contains(&0)
            {
                return Err(ArgsError::new(format!(
                    "`{name}` must be the path of a directory"
                )));
            }
        }
        if let Some(name) = self.peers.keys().find(|name| !is_name(name)) {
            return Err(ArgsError::new(format!(
                "`peers` has {name:?}, which cannot be a name: names are made of letters, \
                 digits, `_`, `-` and `.`"
            )));
        }
        let connections_max = self.connections_max.unwrap_or(CONNECTIONS);
        if !(1..=Settings::CONNECTIONS_MAX).contains(&connections_max) {
            return Err(ArgsError::new(format!(
                "`connections_max` must lie between 1 and {}",
                Settings::CONNECTIONS_MAX
            )));
        }
        let (to, state) = (directory.join(self.to), directory.join(self.state));
        if state.starts_with(&to) {
            return Err(ArgsError::new(
                "`state` lies in `to`, where peers have their folders: put it beside",
            ));
        }
        let peer = |peer: WrittenPeer| Peer {
            shared_key: peer.shared_key.map(|path| directory.join(path)),
        };
        let settings = Settings {
            listen,
            to,
            state,
            peers: self.peers.into_iter().map(|(name, it)| (name, peer(it))).collect(),
            certificates: self.tls.map(|tls| Certificates {
                certificate: directory.join(tls.certificate),
                key: directory.join(tls.key),
                ca: directory.join(tls.ca),
            }),
            connections_max,
        };
        match settings.objection() {
            Some(objection) => Err(ArgsError::new(objection)),
            None => Ok(settings),
        }
    }
}

fn empty(file: &Arc<SourceFile>) -> ConfigError {
    let mut diagnostic = Diagnostic::error(
        file,
        0..0,
        "the configuration of a receiver is one block in parentheses",
    );
    diagnostic.help(format!("for example: {EXAMPLE}"));
    ConfigError::Wrong(vec![diagnostic])
}

/// The error at the words it is about: those that it has itself, or the field that
/// its sentence names first.
fn in_place(file: &Arc<SourceFile>, block: &Block, error: &ArgsError) -> Diagnostic {
    let mut words = error.message.split('`').skip(1).step_by(2);
    let named = words.find_map(|word| {
        let field =
            block.fields.iter().find(|field| &file.text[field.name.clone()] == word);
        field.map(|field| field.value.span.clone())
    });
    let start = block.parentheses.start;
    let span = error.at.clone().or(named).unwrap_or(start..start + 1);
    let mut diagnostic = Diagnostic::error(file, span, error.message.clone());
    diagnostic.help(format!("for example: {EXAMPLE}"));
    diagnostic
}

/// Two peers with one key, of those that can be read.
fn same_key(settings: &Settings) -> Option<[&str; 2]> {
    let mut known = BTreeMap::new();
    for (name, peer) in &settings.peers {
        let key = peer.shared_key.as_ref().map(|path| SharedKey::read(path));
        if let Some(mark) = key.and_then(Result::ok).and_then(|key| key.mark())
            && let Some(other) = known.insert(mark, name.as_str())
        {
            return Some([other, name.as_str()]);
        }
    }
    None
}

/// Keys and certificates that cannot be used: they are read for each connection, so
/// they need not be there when it starts.
fn warnings(
    file: &Arc<SourceFile>,
    block: &Block,
    settings: &Settings,
) -> Vec<Diagnostic> {
    let at = |name: &str| {
        let field =
            block.fields.iter().find(|field| &file.text[field.name.clone()] == name);
        field.map_or(0..0, |field| field.name.clone())
    };
    let mut found = Vec::new();
    let help = "it is read again for each connection: no restart is needed";
    for (name, peer) in &settings.peers {
        let Some(path) = peer.shared_key.clone() else { continue };
        let read = |path: &Path| SharedKey::read(path).map(drop);
        let secret = SecretFile { argument: "shared_key", path, read };
        let (is_error, why) = match secret.look() {
            Looked::Fine | Looked::Unknown => continue,
            Looked::Missing => {
                (false, format!("there is no file {}", secret.path.display()))
            }
            Looked::Wrong(why) => (true, why),
        };
        let span = key_of(file, block, name).unwrap_or_else(|| at("peers"));
        let message = format!("{name} cannot connect: {why}");
        let mut diagnostic = match is_error {
            true => Diagnostic::error(file, span, message),
            false => Diagnostic::warning(file, span, message),
        };
        diagnostic.help(help);
        found.push(diagnostic);
    }
    if let Some(Err(why)) = settings.certificates.as_ref().map(Certificates::server) {
        let message = format!("no certificate can be shown: {why}");
        let mut warning = Diagnostic::warning(file, at("tls"), message);
        warning.help(help);
        found.push(warning);
    }
    found
}

/// Where the key of a peer stands.
fn key_of(file: &SourceFile, block: &Block, peer: &str) -> Option<Range<usize>> {
    let Shape::Map(peers) = &value_of(file, block, "peers")?.shape else { return None };
    let name =
        |key: &Node| Args::new(&file.text[key.span.clone()]).parse::<String>().ok();
    let (_, value) = peers.iter().find(|(key, _)| name(key).as_deref() == Some(peer))?;
    let Shape::Block(peer) = &value.shape else { return None };
    Some(value_of(file, peer, "shared_key")?.span.clone())
}

fn value_of<'b>(file: &SourceFile, block: &'b Block, name: &str) -> Option<&'b Node> {
    let field = block.fields.iter().find(|it| &file.text[it.name.clone()] == name);
    field.map(|it| &it.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_arguments_are_described() {
        let build = |args: &Args<'_>| args.parse::<Written>().err();
        let differences = Argument::differences(ARGUMENTS, &build);
        assert!(differences.is_empty(), "{differences:#?}");
    }
}
