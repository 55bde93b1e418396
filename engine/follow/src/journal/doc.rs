//! What people configure a `Journal` by.

use super::framer::{BLOCK_BYTES, RECORD_BYTES_MAX};
use super::{GAP_AFTER, RECORD_BYTES_MOST};
use std::time::Duration;
use tripline_api::{Argument, Form, Wants};

pub(super) const DOC: &str = "\
Follows a Perforce journal: the live file, and the rotated ones in its folder and in other \
folders, plain or gzipped, in the order of the numbers inside them. Names are only hints. A \
journal that is missing, was replaced, or begins anew with an older number is a gap.";

pub(super) const LIMITS: &[&str] = &[
    "A journal that was written, rotated away and deleted while Tripline was down is gone: \
     that is a gap, with its number, and nothing brings it back but you.",
];

pub(super) const ARGUMENTS: &[Argument] = &[
    Argument::needed("path", Wants::Path, r#""p4root/journal""#, "The live journal."),
    Argument::optional(
        "rotated",
        Wants::Paths,
        r#"["p4root/checkpoints"]"#,
        "Other folders in which rotated journals are, besides that of the live one.",
    ),
    Argument::optional(
        "start",
        Wants::OneOf(&[
            Form::word("Oldest", "the oldest journal there is"),
            Form::word("Now", "behind the last whole record"),
            Form::of("Journal", "12", "the journal with this number"),
            Form::of(
                "Checkpoint",
                "12",
                "behind this checkpoint, the last that was recovered on a standby",
            ),
        ]),
        "Now",
        "Where a listener without a place begins.",
    )
    .or("Oldest"),
    Argument::optional(
        "gap_after",
        Wants::Duration(Duration::ZERO, Duration::MAX),
        r#""1m""#,
        "A journal that seems missing, while a file that may be it is still being written, \
         is waited for so long before the gap is announced.",
    )
    .or_duration(GAP_AFTER),
    Argument::optional(
        "record_bytes_max",
        Wants::Bytes(BLOCK_BYTES as u64, RECORD_BYTES_MOST as u64),
        "268435456",
        "Longer records are cut.",
    )
    .or_number(RECORD_BYTES_MAX as u64),
];

#[cfg(test)]
mod tests {
    use super::super::FACTORY;
    use std::path::Path;
    use tripline_api::{Args, Argument, BuildContext, SourceFactory as _};

    #[test]
    fn all_arguments_are_described() {
        let here = Path::new("/");
        let context = BuildContext { name: "p4", directory: here, state: here };
        let build = |args: &Args<'_>| FACTORY.build(args, &context).err();
        let differences = Argument::differences(FACTORY.arguments(), &build);
        assert!(differences.is_empty(), "{differences:#?}");
    }
}
