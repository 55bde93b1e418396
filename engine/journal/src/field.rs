//! The fields of a record, read when they are asked for, and their names.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr;

use crate::schema;
use crate::schema::Layout;

/// A field of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    raw: &'a [u8],
    quoted: bool,
}

/// The fields of a record, in order.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

/// The fields of a record with the names of their columns.
#[derive(Clone, Debug)]
pub struct Columns<'a> {
    fields: Fields<'a>,
    layout: Option<&'static Layout>,
    /// The names where there is no layout.
    names: &'static [&'static str],
    next: usize,
}

/// The name of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnName {
    /// The schema names it.
    Known(&'static str),
    /// No schema names it. Displayed as `_N`, where N is its place among the record's
    /// columns, counted from 1, an octet column counting once.
    Position(usize),
}

/// The value of a column: the field, or for an octet column its data token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    field: Field<'a>,
    octets: bool,
}

impl<'a> Field<'a> {
    /// The bytes between the quotes, with doubled quotes still doubled; all of a field
    /// that is not quoted.
    pub const fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Whether it was in quotes: a text, not a number or a digest.
    pub const fn is_quoted(&self) -> bool {
        self.quoted
    }

    /// The bytes with doubled quotes made single again; borrowed if there are none.
    /// Nothing says they are UTF-8.
    pub fn text(&self) -> Cow<'a, [u8]> {
        if !self.quoted || memchr(b'@', self.raw).is_none() {
            return Cow::Borrowed(self.raw);
        }
        let mut text = Vec::with_capacity(self.raw.len());
        let mut rest = self.raw;
        while let Some(at) = memchr(b'@', rest) {
            text.extend_from_slice(&rest[..=at]);
            // Skips the second of the two, and only that.
            let pair = rest.get(at + 1) == Some(&b'@');
            rest = &rest[at + 1 + usize::from(pair)..];
        }
        text.extend_from_slice(rest);
        Cow::Owned(text)
    }

    /// The whole field as a number, quoted or not; `None` if it is none.
    pub fn number(&self) -> Option<i64> {
        std::str::from_utf8(self.raw).ok()?.parse().ok()
    }
}

impl<'a> Fields<'a> {
    pub(crate) const fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    /// The bytes that were not read yet.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Takes a field without its quotes' content being looked at; see `next`.
    fn quoted(&mut self) -> Field<'a> {
        let body = &self.rest[1..];
        let mut from = 0;
        let end = loop {
            match memchr(b'@', &body[from..]) {
                // The quotes are not closed: all there is belongs to the field.
                None => break body.len(),
                Some(at) if body.get(from + at + 1) == Some(&b'@') => from += at + 2,
                Some(at) => break from + at,
            }
        };
        self.rest = after_space(body.get(end + 1..).unwrap_or_default());
        Field { raw: &body[..end], quoted: true }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    /// A quoted field ends at its closing quote, another one at the next space. The
    /// space after a field belongs to it, so that two spaces hold an empty field, as an
    /// octet column of length 0 has it, and one at the end holds none.
    fn next(&mut self) -> Option<Field<'a>> {
        match self.rest.first()? {
            b'@' => Some(self.quoted()),
            _ => {
                let end = memchr(b' ', self.rest).unwrap_or(self.rest.len());
                let raw = &self.rest[..end];
                self.rest = after_space(&self.rest[end..]);
                Some(Field { raw, quoted: false })
            }
        }
    }
}

impl<'a> Columns<'a> {
    pub(crate) const fn new(
        fields: Fields<'a>,
        layout: Option<&'static Layout>,
        names: &'static [&'static str],
    ) -> Self {
        Self { fields, layout, names, next: 0 }
    }
}

impl<'a> Iterator for Columns<'a> {
    type Item = (ColumnName, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let mut field = self.fields.next()?;
        let column = self.layout.and_then(|layout| layout.columns.get(self.next));
        let octets = column.is_some_and(schema::Column::is_octets);
        if octets {
            // The length comes first. A record cut short has only that, and shows it.
            field = self.fields.next().unwrap_or(field);
        }
        let name = match column {
            Some(column) => Some(&column.name),
            None => self.names.get(self.next),
        };
        self.next += 1;
        let name =
            name.map_or(ColumnName::Position(self.next), |it| ColumnName::Known(it));
        Some((name, Value { field, octets }))
    }
}

impl ColumnName {
    /// The name if the schema has one.
    pub const fn known(self) -> Option<&'static str> {
        match self {
            Self::Known(name) => Some(name),
            Self::Position(_) => None,
        }
    }

    /// The name, `_N` for a column without.
    pub fn text(self) -> Cow<'static, str> {
        match self {
            Self::Known(name) => Cow::Borrowed(name),
            Self::Position(position) => Cow::Owned(format!("_{position}")),
        }
    }
}

impl fmt::Display for ColumnName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

impl<'a> Value<'a> {
    /// See [`Field::raw`].
    pub const fn raw(&self) -> &'a [u8] {
        self.field.raw()
    }

    /// See [`Field::text`].
    pub fn text(&self) -> Cow<'a, [u8]> {
        self.field.text()
    }

    /// See [`Field::number`].
    pub fn number(&self) -> Option<i64> {
        self.field.number()
    }

    /// See [`Field::is_quoted`].
    pub const fn is_quoted(&self) -> bool {
        self.field.is_quoted()
    }

    /// It is binary data, written as hex digits or as base64 without padding.
    pub const fn is_octets(&self) -> bool {
        self.octets
    }
}

fn after_space(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b" ").unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    fn texts(record: &[u8]) -> Vec<String> {
        let record = Record::parse(record).unwrap();
        record
            .fields()
            .map(|field| String::from_utf8_lossy(&field.text()).into())
            .collect()
    }

    fn names(record: &[u8]) -> Vec<String> {
        let record = Record::parse(record).unwrap();
        record.columns().map(|(name, _)| name.to_string()).collect()
    }

    #[test]
    fn runs_of_quotes() {
        for (written, meant) in [
            ("@@@@", "@"),
            ("@a@@@", "a@"),
            ("@@@b@", "@b"),
            ("@@@@@@", "@@"),
            ("@@", ""),
        ] {
            let record = format!("@pv@ 1 @db.desc@ 1 {written} \n");
            assert_eq!(texts(record.as_bytes()), ["1", meant]);
        }
    }

    #[test]
    fn text_may_hold_anything() {
        let record = b"@pv@ 0 @db.desc@ 1 @a\r\nb\0\xe9\x83\x40\x40 c\n@ \r\n";
        let parsed = Record::parse(record).unwrap();
        let text = parsed.fields().nth(1).unwrap();
        assert_eq!(&*text.text(), b"a\r\nb\0\xe9\x83@ c\n");
        assert!(matches!(parsed.fields().next().unwrap().text(), Cow::Borrowed(b"1")));
    }

    #[test]
    fn octets_are_one_column_of_two_tokens() {
        let parsed = Record::parse(b"@pv@ 0 @db.traits@ 1 @t@ 1 4 39393939 \n").unwrap();
        let (name, value) = parsed.columns().nth(3).unwrap();
        assert_eq!((name, value.raw()), (ColumnName::Known("value"), &b"39393939"[..]));
        assert!(value.is_octets());

        let empty = b"@pv@ 0 @db.traits@ 1 @t@ 1 0  \n";
        assert_eq!(texts(empty), ["1", "t", "1", "0", ""]);
        assert_eq!(Record::parse(empty).unwrap().columns().nth(3).unwrap().1.raw(), b"");
    }

    #[test]
    fn surplus_columns_have_positions() {
        let record = b"@pv@ 0 @db.traits@ 1 @t@ 1 2 3939 5 6 \n";
        assert_eq!(names(record), ["traitLot", "name", "type", "value", "_5", "_6"]);
        assert_eq!(names(b"@pv@ 0 @db.nosuch@ 1 2 \n"), ["_1", "_2"]);
    }

    #[test]
    fn a_torn_record_reads_as_far_as_it_goes() {
        assert_eq!(texts(b"@pv@ 0 @db.desc@ 1 @torn\n"), ["1", "torn"]);
        assert_eq!(texts(b"@pv@ 0 @db.desc@ 1 @torn@@"), ["1", "torn@"]);
        assert_eq!(texts(b"@pv@ 0 @db.desc@ "), [""; 0]);
    }
}
