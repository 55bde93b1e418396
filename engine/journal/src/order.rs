//! The order of the tables in a checkpoint.

/// Where a table stands among others; tables not known come last.
///
/// A server writes its tables in one fixed order. It is a hint here and nothing depends
/// on it but memory: two checkpoints are walked side by side without setting rows aside
/// while they agree about it.
pub(crate) fn rank(table: &str) -> usize {
    TABLES.iter().position(|&known| known == table).unwrap_or(TABLES.len())
}

/// As seen in checkpoints of 2009.2 to 2015.2.
const TABLES: [&str; 64] = [
    "db.config",
    "db.counters",
    "db.nameval",
    "db.logger",
    "db.ldap",
    "db.server",
    "db.svrview",
    "db.remote",
    "db.rmtview",
    "db.stash",
    "db.user.rp",
    "db.user",
    "db.group",
    "db.groupx",
    "db.depot",
    "db.stream",
    "db.domain",
    "db.template",
    "db.view.rp",
    "db.view",
    "db.review",
    "db.integ",
    "db.integed",
    "db.integtx",
    "db.resolve",
    "db.resolvex",
    "db.have.rp",
    "db.have",
    "db.label",
    "db.locks",
    "db.excl",
    "db.archive",
    "db.archmap",
    "db.rev",
    "db.revtx",
    "db.revcx",
    "db.revdx",
    "db.revhx",
    "db.revpx",
    "db.revsx",
    "db.revsh",
    "db.revbx",
    "db.revux",
    "db.working",
    "db.workingx",
    "db.traits",
    "db.trigger",
    "db.change",
    "db.changex",
    "db.changeidx",
    "db.desc",
    "db.job",
    "db.jobpend",
    "db.jobdesc",
    "db.fix",
    "db.fixrev",
    "db.boddate",
    "db.bodtext",
    "db.ixdate",
    "db.ixtext",
    "db.uxtext",
    "db.protect",
    "db.property",
    "db.message",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_table_stands_twice() {
        for (at, table) in TABLES.iter().enumerate() {
            assert_eq!(rank(table), at);
        }
        assert_eq!(rank("db.nosuch"), TABLES.len());
    }
}
