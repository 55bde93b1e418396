//! A rule made of a record of a journal.

use super::quoted;
use p4journal::{Op, Reader, Record};
use std::fmt::Write as _;

/// Files with a rule for transactions with such a row, the best first; none if the text
/// does not begin with a record that writes one.
pub(super) fn files(text: &[u8], source: Option<&str>) -> Vec<String> {
    let text = [text, b"\n"].concat();
    let mut reader = Reader::new(text.as_slice());
    let Ok(Some(entry)) = reader.next() else { return Vec::new() };
    let bytes = entry.bytes.to_vec();
    let Ok(record) = Record::parse(&bytes) else { return Vec::new() };
    // A rule is made of one row.
    while let Ok(Some(more)) = reader.next() {
        if Record::parse(more.bytes).is_ok_and(|it| it.table().is_some()) {
            return Vec::new();
        }
    }
    let op = match record.op() {
        Op::Pv | Op::Put => "Put",
        Op::Rv => "Replace",
        Op::Dv | Op::Del => "Delete",
        _ => return Vec::new(),
    };
    let Some(table) = record.table() else { return Vec::new() };
    let written = String::from_utf8_lossy(&bytes).replace("{{", "{ {");
    let given =
        quoted(&format!("{}\n@ex@ 1 1700000000\n", written.trim_end_matches('\n')));
    let known = ["user", "name", "client", "change"];
    let column =
        |wanted: &&&str| record.columns().any(|(name, _)| name.text() == **wanted);
    let columns = known.iter().filter(column).map(|name| Some(*name));
    columns.chain([None]).map(|it| file(table, op, it, &given, source)).collect()
}

fn file(
    table: &str,
    op: &str,
    column: Option<&str>,
    given: &str,
    source: Option<&str>,
) -> String {
    let name = format!("{}-{}", table.replace('.', "-"), op.to_ascii_lowercase());
    let shown =
        column.map(|it| format!(": {it} {{{{ {table}.{it} }}}}")).unwrap_or_default();
    let subject = quoted(&format!("{table} {}{shown}", op.to_ascii_lowercase()));
    let on = source.map(|it| format!("source: {}, ", quoted(it))).unwrap_or_default();
    let of = source.map(|it| format!(", source: {}", quoted(it))).unwrap_or_default();
    let mut file = String::new();
    // Writing to a text cannot fail.
    _ = write!(
        file,
        "(\n    rules: [(\n        name: {name:?},\n        on: Journal({on}table: \
         {table:?}, op: {op}),\n        do: [Mail(to: [\"ops@example.com\"], subject: \
         {subject})],\n    )],\n    tests: [(\n        name: \"{name} is mailed\",\n        \
         given: [Lines(text: {given}{of})],\n        expect: [Mail(subject: \
         Has(\"{table}\"))],\n    )],\n)\n"
    );
    file
}
