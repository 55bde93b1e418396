//! Transactions of a journal: which records belong together, and what rules see of them.

use super::words::of_op;
use crate::Type;
use crate::compiled::{type_of_column, word_of};
use crate::model::Op;
use p4journal::schema::Layout;
use p4journal::{Marker, Record};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use tripline_api::Place;

/// The records of one transaction, with the `@ex@` that ended it.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// The place of the `@ex@`.
    pub place: Place,
    /// Process and time.
    pub marker: Marker,
    bytes: Vec<u8>,
    rows: Vec<Range<usize>>,
    /// The rows that there was no room for.
    pub dropped: u64,
}

impl Transaction {
    /// The records that write rows.
    fn records(&self) -> impl Iterator<Item = (Op, &str, Record<'_>)> {
        self.rows.iter().filter_map(|row| {
            let record = Record::parse(&self.bytes[row.clone()]).ok()?;
            Some((op_of(record.op())?, record.table()?, record))
        })
    }

    /// Tables and ways of writing, each once.
    pub(super) fn rows(&self) -> Vec<(String, Op)> {
        let mut rows: Vec<(String, Op)> = Vec::new();
        for (op, table, _) in self.records() {
            if !rows.iter().any(|(known, it)| known == table && *it == op) {
                rows.push((table.to_owned(), op));
            }
        }
        rows
    }
}

const fn op_of(op: p4journal::Op) -> Option<Op> {
    match op {
        p4journal::Op::Pv | p4journal::Op::Put => Some(Op::Put),
        p4journal::Op::Rv => Some(Op::Replace),
        p4journal::Op::Dv | p4journal::Op::Del => Some(Op::Delete),
        _ => None,
    }
}

/// Puts the records of a journal together to transactions.
///
/// What a server left open that died never happened, and is forgotten when it starts
/// anew. At most [`TRANSACTION_BYTES_MAX`] of open transactions are kept; rows beyond
/// that are counted.
#[derive(Debug, Default)]
pub struct Gather {
    current: Open,
    /// Of processes that go on later.
    paused: BTreeMap<u64, Open>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Open {
    bytes: Vec<u8>,
    rows: Vec<Range<usize>>,
    dropped: u64,
}

impl Gather {
    /// Whether no transaction is open.
    pub fn is_empty(&self) -> bool {
        self.current.is_empty() && self.paused.is_empty()
    }

    /// Whether nothing is known yet of a transaction that ends with this mark: of what comes
    /// before the mark it has only what was not handed in.
    pub fn knows_nothing_of(&self, marker: &Marker) -> bool {
        self.current.is_empty() && !self.paused.contains_key(&marker.pid)
    }

    /// Takes the next record: the transaction that it ends.
    pub fn push(&mut self, record: &[u8], place: Place) -> Option<Transaction> {
        match p4journal::Op::of(record)? {
            p4journal::Op::Ex => {
                let marker = Record::parse(record).ok()?.marker()?;
                let current = std::mem::take(&mut self.current);
                let mut open = self.paused.remove(&marker.pid).unwrap_or_default();
                open.append(current);
                self.bytes = self.bytes.saturating_sub(open.bytes.len());
                let Open { bytes, rows, dropped } = open;
                Some(Transaction { place, marker, bytes, rows, dropped })
            }
            p4journal::Op::Mx => {
                let marker = Record::parse(record).ok()?.marker()?;
                let current = std::mem::take(&mut self.current);
                if !current.is_empty() {
                    self.paused.entry(marker.pid).or_default().append(current);
                }
                None
            }
            p4journal::Op::Nx => {
                let note = Record::parse(record).ok()?.note()?;
                if note.kind == p4journal::NoteKind::ServerStart {
                    *self = Self::default();
                }
                None
            }
            op => {
                op_of(op)?;
                if self.bytes + record.len() > TRANSACTION_BYTES_MAX {
                    self.current.dropped += 1;
                    return None;
                }
                self.bytes += record.len();
                let start = self.current.bytes.len();
                self.current.bytes.extend_from_slice(record);
                self.current.rows.push(start..start + record.len());
                None
            }
        }
    }
}

impl Open {
    const fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.dropped == 0
    }

    fn append(&mut self, other: Self) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        let moved = |row: Range<usize>| start + row.start..start + row.end;
        self.rows.extend(other.rows.into_iter().map(moved));
        self.dropped += other.dropped;
    }
}

/// The roots that a transaction gives its event: `db`, `journal`, `submit`.
pub(super) fn roots(
    transaction: &Transaction,
    known: &Descriptions,
) -> Map<String, Json> {
    let mut db: Map<String, Json> = Map::new();
    let mut tables: Vec<Json> = Vec::new();
    for (op, table, record) in transaction.records() {
        let row = row(op, &record);
        let short = table.strip_prefix("db.").unwrap_or(table);
        let known = db.entry(short.to_owned()).or_insert_with(|| {
            tables.push(json!(table));
            json!({ "rows": [] })
        });
        let Some(known) = known.as_object_mut() else { continue };
        let mut rows = known.remove("rows").unwrap_or_else(|| json!([]));
        if let Some(rows) = rows.as_array_mut()
            && rows.len() < ROWS_MAX
        {
            rows.push(Json::Object(row.clone()));
        }
        *known = row;
        known.insert("rows".to_owned(), rows);
    }
    let submit = submit(&db, transaction, known);
    let journal = json!({ "pid": transaction.marker.pid, "tables": tables });
    Map::from_iter([
        ("db".to_owned(), Json::Object(db)),
        ("journal".to_owned(), journal),
        ("submit".to_owned(), submit.unwrap_or(Json::Null)),
    ])
}

fn row(op: Op, record: &Record<'_>) -> Map<String, Json> {
    let layout = record.layout();
    let mut row = Map::from_iter([("op".to_owned(), json!(of_op(op)))]);
    for (index, (name, value)) in record.columns().enumerate() {
        let kind = kind_of(layout, index);
        let text = || json!(String::from_utf8_lossy(&value.text()));
        let number = || value.number();
        let value = match (kind, type_of_column(kind)) {
            ("Password", _) => json!("(hidden)"),
            (_, Type::Word(_)) => match number() {
                Some(number) => json!(
                    word_of(kind, number)
                        .map_or_else(|| number.to_string(), str::to_owned)
                ),
                None => text(),
            },
            (_, Type::Int | Type::Time) => number().map_or_else(text, |it| json!(it)),
            (_, Type::Any) if !value.is_quoted() => {
                number().map_or_else(text, |it| json!(it))
            }
            _ => text(),
        };
        row.insert(name.text().into_owned(), value);
    }
    row
}

fn kind_of(layout: Option<&'static Layout>, index: usize) -> &'static str {
    layout.and_then(|layout| layout.columns.get(index)).map_or("", |column| column.kind)
}

/// The change that was submitted by the transaction: it became a submitted one, and
/// revisions were written for it.
fn submit(
    db: &Map<String, Json>,
    transaction: &Transaction,
    known: &Descriptions,
) -> Option<Json> {
    let rows = |table: &str| {
        let rows = db.get(table).and_then(|table| table.get("rows")?.as_array());
        rows.into_iter().flatten().filter(|row| row["op"] != "delete")
    };
    let change = rows("change").rfind(|row| row["status"] == "submitted")?;
    let number = &change["change"];
    let of_change = |table| rows(table).filter(move |row| row["change"] == *number);
    let from = if of_change("rev").next().is_some() { "rev" } else { "revcx" };
    let files: Vec<Json> = of_change(from)
        .map(|row| {
            let kind = row.get("type").and_then(Json::as_i64).map(type_word);
            json!({
                "path": row["depotFile"], "rev": row["depotRev"],
                "action": row["action"], "type": kind.unwrap_or_default(),
            })
        })
        .collect();
    if files.is_empty() {
        return None;
    }
    let key = &change["descKey"];
    let here = rows("desc").rfind(|row| row["descKey"] == *key);
    let description = match here {
        Some(row) => row["description"].clone(),
        None => key
            .as_i64()
            .and_then(|key| known.get(key))
            .map_or_else(|| change["description"].clone(), |it| json!(it)),
    };
    let time = change["date"].as_i64().unwrap_or(transaction.marker.time);
    Some(json!({
        "change": number, "user": change["user"], "client": change["client"],
        "description": description, "time": time, "files": files,
    }))
}

/// The word for a type of file: what it is on the client.
fn type_word(kind: i64) -> String {
    let word = match kind >> 16 & 0x1ff {
        0 | 2 => "text",
        1 | 3 => "binary",
        4 => "symlink",
        8 | 10 => "unicode",
        _ => return format!("{kind:#x}"),
    };
    word.to_owned()
}

/// The descriptions of changes that may be submitted by a later transaction: the newest.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Descriptions {
    newest: VecDeque<(i64, String)>,
    bytes: usize,
}

impl Descriptions {
    /// Remembers those that a transaction writes.
    pub(super) fn learn(&mut self, transaction: &Transaction) {
        for (op, table, record) in transaction.records() {
            if table != "db.desc" {
                continue;
            }
            let mut fields = record.fields();
            let key = fields.next().and_then(|field| field.number());
            let (Some(key), Some(text)) = (key, fields.next()) else { continue };
            self.forget(key);
            if op != Op::Delete {
                let mut text = String::from_utf8_lossy(&text.text()).into_owned();
                let fits = |at: &usize| text.is_char_boundary(*at);
                let cut = (0..=DESCRIPTION_BYTES_MAX.min(text.len())).rev().find(fits);
                text.truncate(cut.unwrap_or_default());
                self.bytes = self.bytes.saturating_add(text.len());
                self.newest.push_back((key, text));
            }
            while self.bytes > DESCRIPTIONS_BYTES_MAX
                || self.newest.len() > DESCRIPTIONS_MAX
            {
                let Some((_, text)) = self.newest.pop_front() else { break };
                self.bytes = self.bytes.saturating_sub(text.len());
            }
        }
    }

    fn forget(&mut self, key: i64) {
        let bytes = &mut self.bytes;
        self.newest.retain(|(known, text)| {
            let gone = if *known == key { text.len() } else { 0 };
            *bytes = bytes.saturating_sub(gone);
            *known != key
        });
    }

    fn get(&self, key: i64) -> Option<&str> {
        let found = self.newest.iter().rfind(|(known, _)| *known == key);
        found.map(|(_, text)| text.as_str())
    }
}

/// The most bytes of transactions that are not complete.
pub const TRANSACTION_BYTES_MAX: usize = 64 << 20;
/// The most rows of one table that `rows` and `submit.files` have.
pub const ROWS_MAX: usize = 10_000;
/// The most descriptions that are remembered.
const DESCRIPTIONS_MAX: usize = 1_000;
/// The most bytes of them.
const DESCRIPTIONS_BYTES_MAX: usize = 1 << 20;
/// The longest description, in bytes; a longer one is cut.
const DESCRIPTION_BYTES_MAX: usize = 64 << 10;
