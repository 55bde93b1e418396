//! The rows.

use super::{Kind, Promise, entries_of};
use std::path::Path;

/// A row, or several, for every listener there is.
pub static KINDS: &[Kind] = &[
    Kind {
        name: "Forward",
        arguments: r#"(from: ["p4"], to: "tcp://{receiver}", format: Lines)"#,
        output: |directory| lines_of(&directory.join("received")),
        promise: Promise::AtLeastOnce,
    },
    Kind {
        name: "Forward",
        arguments: r#"(from: ["p4"], to: "tcp://{receiver}", format: Json)"#,
        output: |directory| lines_of(&directory.join("received")),
        promise: Promise::AtLeastOnce,
    },
    Kind {
        name: "Forward",
        arguments: r#"(from: ["p4"], to: "tcp://{receiver}", format: Rfc5424())"#,
        output: |directory| without_heads(&directory.join("received")),
        promise: Promise::AtLeastOnce,
    },
    Kind {
        name: "Forward",
        arguments: r#"(from: ["p4"], to: "udp://{receiver}", format: Rfc5424())"#,
        output: |directory| without_heads(&directory.join("received")),
        promise: Promise::AtLeastOnce,
    },
    Kind {
        name: "Forward",
        arguments: r#"(from: ["p4"], to: "http://{receiver}/in", format: Json)"#,
        output: |directory| lines_of(&directory.join("received")),
        promise: Promise::AtLeastOnce,
    },
    // Only tests can make certificates.
    #[cfg(test)]
    Kind {
        name: "Forward",
        arguments: r#"(from: ["p4"], to: "https://{receiver}/in", ca: "{ca}", format: Lines)"#,
        output: |directory| lines_of(&directory.join("received")),
        promise: Promise::AtLeastOnce,
    },
    #[cfg(test)]
    Kind {
        name: "Forward",
        arguments: r#"(from: ["p4"], to: "tls://{receiver}", ca: "{ca}", format: Json)"#,
        output: |directory| lines_of(&directory.join("received")),
        promise: Promise::AtLeastOnce,
    },
    Kind {
        name: "Forward",
        arguments: r#"(from: ["p4"], to: "tripline://{relay}", peer: "{peer}")"#,
        output: relayed,
        promise: Promise::OnceNoted,
    },
    Kind {
        name: "Forward",
        arguments: r#"(from: ["p4"], to: "tripline://{relay}", peer: "{peer}",
            compress: Deflate)"#,
        output: relayed,
        promise: Promise::OnceNoted,
    },
    Kind {
        name: "Exec",
        arguments: r#"(from: ["p4"], run: ["/usr/bin/tee", "-a", "received"], cwd: ".")"#,
        output: |directory| lines_of(&directory.join("received")),
        promise: Promise::AtLeastOnce,
    },
    Kind {
        name: "HotBackup",
        arguments: r#"(from: ["p4"], to: "ssh://{standby}{directory}/out",
            key: "{keys}/user", known_hosts: "{keys}/known_hosts")"#,
        output: files,
        promise: Promise::Once,
    },
    Kind {
        name: "Mail",
        arguments: r#"(
            from: ["p4"],
            to: ["ops@example.com", "Ann <ann@example.com>"],
            via: Smtp(server: "smtp://{mailbox}"),
            body: "{% for entry in entries %}{{ entry.id }}\n{% endfor %}",
            digest: (after: "0s", every: "0s", show: 1000),
            sender: "tripline@example.com")"#,
        output: |directory| lines_of(&directory.join("received")),
        promise: Promise::Once,
    },
    Kind {
        name: "Mirror",
        arguments: r#"(from: ["p4"], to: "out")"#,
        output: files,
        promise: Promise::Once,
    },
    Kind {
        name: "Print",
        arguments: r#"(from: ["p4"], to: "out.jsonl")"#,
        output: |directory| lines_of(&directory.join("out.jsonl")),
        promise: Promise::Once,
    },
    Kind {
        name: "Review",
        arguments: r#"(from: ["p4"], sender: "p4@example.com", zone: "UTC",
            via: Smtp(server: "smtp://{mailbox}"))"#,
        output: |directory| lines_of(&directory.join("received")),
        promise: Promise::Once,
    },
];

/// Each file that another Tripline received is a piece.
fn relayed(directory: &Path) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(directory.join("relayed")).unwrap_or_default();
    let folder = Path::new(&text).join("p4");
    let mut names = entries_of(&folder);
    names.sort();
    let read = |name: String| {
        let content = std::fs::read(folder.join(&name)).unwrap_or_default();
        [name.as_bytes(), b"\n", &content].concat()
    };
    names.into_iter().map(read).collect()
}

/// A file below `out` is a piece: its name and its content.
fn files(directory: &Path) -> Vec<Vec<u8>> {
    let directory = directory.join("out");
    let mut names = entries_of(&directory);
    names.sort();
    let read = |name: String| {
        let content = std::fs::read(directory.join(&name)).unwrap_or_default();
        [name.as_bytes(), b"\n", &content].concat()
    };
    names.into_iter().map(read).collect()
}

/// A line of the file is a piece.
fn lines_of(file: &Path) -> Vec<Vec<u8>> {
    let content = std::fs::read(file).unwrap_or_default();
    content.split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect()
}

/// A syslog message is a piece, without its head, which has the time of sending.
fn without_heads(file: &Path) -> Vec<Vec<u8>> {
    let without_head = |line: Vec<u8>| {
        let data = line.iter().position(|byte| *byte == b'[').unwrap_or(0);
        line[data..].to_vec()
    };
    lines_of(file).into_iter().map(without_head).collect()
}
