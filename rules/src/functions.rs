//! Filters, tests and functions of expressions and templates, and where they run.

use crate::Type;
use crate::compiled::Expression;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, State, UndefinedBehavior, Value,
    escape_formatter,
};
use p4journal::{Case, PathPattern};
use std::net::IpAddr;

/// A name that may stand behind `|`, behind `is`, or in front of `(`.
#[derive(Debug)]
pub(crate) struct Function {
    /// The name.
    pub(crate) name: &'static str,
    /// What it gives.
    pub(crate) gives: Gives,
    /// What it is for; empty for those that are Jinja's own.
    pub(crate) doc: &'static str,
}

/// What a filter gives.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Gives {
    /// This.
    Always(Simple),
    /// One of the list.
    Element,
    /// What it gets.
    Same,
}

/// A type without others in it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Simple {
    Any,
    Bool,
    Float,
    Int,
    Text,
}

impl Simple {
    pub(crate) const fn kind(self) -> Type {
        match self {
            Self::Any => Type::Any,
            Self::Bool => Type::Bool,
            Self::Float => Type::Float,
            Self::Int => Type::Int,
            Self::Text => Type::Text,
        }
    }
}

const fn jinja(name: &'static str, gives: Gives) -> Function {
    Function { name, gives, doc: "" }
}

const fn ours(name: &'static str, gives: Simple, doc: &'static str) -> Function {
    Function { name, gives: Gives::Always(gives), doc }
}

use Gives::{Always, Element, Same};
use Simple::{Any, Bool, Float, Int, Text};

/// The filters.
pub(crate) static FILTERS: &[Function] = &[
    ours("firstline", Text, "The first line of a text."),
    ours("tail", Text, "The last lines of a text: `tail(40)`."),
    ours("truncate", Text, "At most so many characters, `…` included: `truncate(60)`."),
    ours("local", Text, "A time on this machine's clock: 2026-11-20 21:00:00."),
    ours("rfc3339", Text, "A time in UTC: 2026-11-20T20:00:00Z."),
    ours("date", Text, "A time in a form of one's own: `date('%Y%m%d')`."),
    jinja("abs", Same),
    jinja("batch", Always(Any)),
    jinja("bool", Always(Bool)),
    jinja("capitalize", Always(Text)),
    jinja("count", Always(Int)),
    jinja("d", Always(Any)),
    jinja("default", Always(Any)),
    jinja("dictsort", Always(Any)),
    jinja("first", Element),
    jinja("float", Always(Float)),
    jinja("format", Always(Text)),
    jinja("groupby", Always(Any)),
    jinja("indent", Always(Text)),
    jinja("int", Always(Int)),
    jinja("items", Always(Any)),
    jinja("join", Always(Text)),
    jinja("last", Element),
    jinja("length", Always(Int)),
    jinja("lines", Always(Any)),
    jinja("list", Same),
    jinja("lower", Always(Text)),
    jinja("map", Always(Any)),
    jinja("max", Element),
    jinja("min", Element),
    jinja("reject", Same),
    jinja("rejectattr", Same),
    jinja("replace", Always(Text)),
    jinja("reverse", Same),
    jinja("round", Always(Float)),
    jinja("select", Same),
    jinja("selectattr", Same),
    jinja("slice", Always(Any)),
    jinja("sort", Same),
    jinja("split", Always(Any)),
    jinja("string", Always(Text)),
    jinja("sum", Always(Any)),
    jinja("title", Always(Text)),
    jinja("tojson", Always(Text)),
    jinja("trim", Always(Text)),
    jinja("unique", Same),
    jinja("upper", Always(Text)),
];

/// The tests, which stand behind `is`.
pub(crate) static TESTS: &[Function] = &[
    ours("cidr", Bool, "An address in a network: `ip is cidr('10.0.0.0/8')`."),
    ours(
        "p4path",
        Bool,
        "A depot path, or one of a list, that matches with Perforce's \
        wildcards: `submit.files is p4path('//depot/main/...')`.",
    ),
    jinja("boolean", Always(Bool)),
    jinja("defined", Always(Bool)),
    jinja("divisibleby", Always(Bool)),
    jinja("endingwith", Always(Bool)),
    jinja("eq", Always(Bool)),
    jinja("equalto", Always(Bool)),
    jinja("even", Always(Bool)),
    jinja("false", Always(Bool)),
    jinja("float", Always(Bool)),
    jinja("ge", Always(Bool)),
    jinja("greaterthan", Always(Bool)),
    jinja("gt", Always(Bool)),
    jinja("in", Always(Bool)),
    jinja("integer", Always(Bool)),
    jinja("iterable", Always(Bool)),
    jinja("le", Always(Bool)),
    jinja("lessthan", Always(Bool)),
    jinja("lower", Always(Bool)),
    jinja("lt", Always(Bool)),
    jinja("mapping", Always(Bool)),
    jinja("ne", Always(Bool)),
    jinja("none", Always(Bool)),
    jinja("number", Always(Bool)),
    jinja("odd", Always(Bool)),
    jinja("sequence", Always(Bool)),
    jinja("startingwith", Always(Bool)),
    jinja("string", Always(Bool)),
    jinja("true", Always(Bool)),
    jinja("undefined", Always(Bool)),
    jinja("upper", Always(Bool)),
];

/// The functions.
pub(crate) static FUNCTIONS: &[Function] = &[
    ours("flag", Bool, "Whether a flag is set: `flag('maintenance')`. See `Set`."),
    jinja("dict", Always(Any)),
    jinja("namespace", Always(Any)),
    jinja("range", Always(Any)),
];

/// The root under which evaluation hands in the flags: a map of those that are set.
pub const FLAGS: &str = "tripline_flags";

/// The most steps of one run.
const FUEL_MAX: u64 = 2_000_000;
/// How deep calls may nest.
const DEPTH_MAX: usize = 50;

/// What every expression and template runs in.
pub(crate) fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    // A line that somebody wrote is a line: it keeps its end.
    if let Ok(syntax) = SyntaxConfig::builder().keep_trailing_newline(true).build() {
        environment.set_syntax(syntax);
    }
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(FUEL_MAX));
    environment.set_recursion_limit(DEPTH_MAX);
    environment.set_debug(true);
    // What took no part in a match is nothing to be read.
    environment.set_formatter(|output, state, value| {
        if value.is_none() { Ok(()) } else { escape_formatter(output, state, value) }
    });
    environment.add_filter("firstline", firstline);
    environment.add_filter("tail", tail);
    environment.add_filter("truncate", truncate);
    environment.add_filter("local", |time: i64| dated(time, "%Y-%m-%d %H:%M:%S", false));
    environment
        .add_filter("rfc3339", |time: i64| dated(time, "%Y-%m-%dT%H:%M:%SZ", true));
    environment.add_filter("date", |time: i64, form: &str| dated(time, form, false));
    environment.add_test("cidr", |address: &str, network: &str| {
        cidr(address, network).unwrap_or_default()
    });
    environment.add_test("p4path", p4path);
    environment.add_function("flag", flag);
    environment
}

/// The template in which an expression runs.
pub(crate) fn wrapped(expression: &str) -> String {
    format!("{{% set {} = ({expression}\n) %}}", Expression::RESULT)
}

fn firstline(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn truncate(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    let kept = text.chars().take(length.saturating_sub(1));
    kept.chain((length > 0).then_some('…')).collect()
}

fn dated(time: i64, form: &str, is_utc: bool) -> Result<String, Error> {
    let wrong = |what: &str| Error::new(ErrorKind::InvalidOperation, what.to_owned());
    let instant = Timestamp::from_second(time)
        .map_err(|_| wrong("this number of seconds is no time"))?;
    let zone = if is_utc { TimeZone::UTC } else { TimeZone::system() };
    jiff::fmt::strtime::format(form, &instant.to_zoned(zone))
        .map_err(|error| wrong(&error.to_string()))
}

/// Whether an address is in a network; `None` if the network is none. What is no address
/// is in none.
pub(crate) fn cidr(address: &str, network: &str) -> Option<bool> {
    let (base, bits) = match network.split_once('/') {
        Some((base, bits)) => (base, Some(bits.parse::<u32>().ok()?)),
        None => (network, None),
    };
    let base: IpAddr = base.parse().ok()?;
    let width = if base.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(width);
    if bits > width {
        return None;
    }
    let Ok(address) = address.parse::<IpAddr>() else { return Some(false) };
    let number = |it: IpAddr| match it {
        IpAddr::V4(it) => u128::from(it.to_bits()),
        IpAddr::V6(it) => it.to_bits(),
    };
    let same = |a: IpAddr, b: IpAddr| {
        bits == 0 || (number(a) ^ number(b)) >> (width - bits) == 0
    };
    Some(match (base, address) {
        (IpAddr::V4(_), IpAddr::V6(it)) => {
            it.to_ipv4_mapped().is_some_and(|it| same(base, IpAddr::V4(it)))
        }
        _ => base.is_ipv4() == address.is_ipv4() && same(base, address),
    })
}

/// A path, a list of paths, or of records that have one.
fn p4path(value: &Value, pattern: &str) -> Result<bool, Error> {
    let Some(pattern) = PathPattern::new(pattern.as_bytes(), Case::Sensitive) else {
        return Err(Error::new(ErrorKind::InvalidOperation, "the path is too long"));
    };
    let is_one = |value: &Value| {
        let in_it = || {
            ["path", "depotFile"].iter().find_map(|name| {
                value.get_attr(name).ok().filter(|it| !it.is_undefined())
            })
        };
        match value.as_str() {
            Some(path) => pattern.matches(path.as_bytes()),
            None => in_it()
                .as_ref()
                .and_then(Value::as_str)
                .is_some_and(|path| pattern.matches(path.as_bytes())),
        }
    };
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            Ok(value.try_iter()?.any(|it| is_one(&it)))
        }
        _ => Ok(is_one(value)),
    }
}

fn flag(state: &State<'_, '_>, name: &str) -> bool {
    let flags = state.lookup(FLAGS).unwrap_or_default();
    flags.get_item(&Value::from(name)).is_ok_and(|set| set.is_true())
}

#[cfg(test)]
mod tests {
    use super::*;
    use minijinja::context;

    fn eval(expression: &str) -> Result<String, Error> {
        let mut environment = environment();
        environment.add_template_owned("x", wrapped(expression))?;
        let it = Expression { text: expression.to_owned(), name: "x".into() };
        let roots = context! {
            ip => "10.1.2.3", long => "a\nb\nc", at => 1_700_000_000,
            files => vec![context! { path => "//depot/main/a.c" }],
            tripline_flags => context! { night => true },
        };
        it.evaluate(&environment, roots).map(|value| value.to_string())
    }

    #[test]
    fn our_own_do_what_they_say() {
        for (expression, wanted) in [
            ("ip is cidr('10.0.0.0/8')", "True"),
            ("ip is cidr('10.2.0.0/16')", "False"),
            ("'::ffff:10.1.2.3' is cidr('10.0.0.0/8')", "True"),
            ("'nobody' is cidr('10.0.0.0/8')", "False"),
            ("long | firstline", "a"),
            ("long | tail(2)", "b\nc"),
            ("'abcdef' | truncate(3)", "ab…"),
            ("at | rfc3339", "2023-11-14T22:13:20Z"),
            ("files is p4path('//depot/main/...')", "True"),
            ("files is p4path('//depot/dev/...')", "False"),
            ("'//depot/main/a.c' is p4path('//depot/*/a.c')", "True"),
            ("flag('night')", "True"),
            ("flag('day')", "False"),
        ] {
            assert_eq!(eval(expression).unwrap(), wanted, "{expression}");
        }
    }

    #[test]
    fn every_name_in_the_tables_is_there() {
        let environment = environment();
        let mut missing = Vec::new();
        let mut run = |name: &str, text: String| {
            let error = environment.render_str(&text, ()).err().map(|error| error.kind());
            let kinds = [
                ErrorKind::UnknownFilter,
                ErrorKind::UnknownTest,
                ErrorKind::UnknownFunction,
            ];
            if error.is_some_and(|kind| kinds.contains(&kind)) {
                missing.push(name.to_owned());
            }
        };
        FILTERS.iter().for_each(|it| run(it.name, format!("{{{{ 1 | {} }}}}", it.name)));
        TESTS.iter().for_each(|it| run(it.name, format!("{{{{ 1 is {} }}}}", it.name)));
        FUNCTIONS.iter().for_each(|it| run(it.name, format!("{{{{ {}() }}}}", it.name)));
        assert_eq!(missing, Vec::<String>::new());
    }
}
