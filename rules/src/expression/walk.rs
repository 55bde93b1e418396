//! The walk through a parsed expression or template.

use super::{Finding, member};
use crate::Type;
use crate::functions::{self, FILTERS, FUNCTIONS, Function, Gives, TESTS};
use crate::read::did_you_mean;
use crate::roots::Roots;
use minijinja::machinery::Span;
use minijinja::machinery::ast::{
    BinOp, BinOpKind, Call, CallArg, Compare, CompareOpKind, Expr, Filter, ForLoop,
    GetAttr, GetItem, Stmt, Test, UnaryOpKind,
};
use minijinja::value::ValueKind;
use std::collections::BTreeMap;
use std::ops::Range;
use tripline_diagnose::words;

/// Finds what is wrong on the way.
pub(super) struct Walk<'a> {
    text: &'a str,
    roots: &'a Roots,
    /// Names that the template itself made, the innermost last.
    locals: Vec<BTreeMap<String, Type>>,
    pub(super) findings: Vec<Finding>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(text: &'a str, roots: &'a Roots) -> Self {
        Self { text, roots, locals: vec![BTreeMap::new()], findings: Vec::new() }
    }

    pub(super) fn statement(&mut self, statement: &Stmt<'_>) {
        match statement {
            Stmt::Template(it) => self.statements(&it.children),
            Stmt::EmitExpr(it) => _ = self.expression(&it.expr),
            Stmt::EmitRaw(_) => {}
            Stmt::ForLoop(it) => self.for_loop(it),
            Stmt::IfCond(it) => {
                self.expression(&it.expr);
                self.inside(|walk| walk.statements(&it.true_body));
                self.inside(|walk| walk.statements(&it.false_body));
            }
            Stmt::WithBlock(it) => self.inside(|walk| {
                for (target, value) in &it.assignments {
                    let kind = walk.expression(value);
                    walk.assign(target, kind);
                }
                walk.statements(&it.body);
            }),
            Stmt::Set(it) => {
                let kind = self.expression(&it.expr);
                self.assign(&it.target, kind);
            }
            Stmt::SetBlock(it) => {
                self.assign(&it.target, Type::Text);
                if let Some(filter) = &it.filter {
                    self.expression(filter);
                }
                self.inside(|walk| walk.statements(&it.body));
            }
            Stmt::AutoEscape(it) => self.statements(&it.body),
            Stmt::FilterBlock(it) => {
                self.expression(&it.filter);
                self.statements(&it.body);
            }
            Stmt::Do(it) => _ = self.call(&it.call),
            Stmt::Macro(it) => self.refuse(it.span(), "macro"),
            Stmt::CallBlock(it) => self.refuse(it.span(), "call"),
            Stmt::Block(it) => self.refuse(it.span(), "block"),
            Stmt::Import(it) => self.refuse(it.span(), "import"),
            Stmt::FromImport(it) => self.refuse(it.span(), "from"),
            Stmt::Extends(it) => self.refuse(it.span(), "extends"),
            Stmt::Include(it) => self.refuse(it.span(), "include"),
        }
    }

    fn statements(&mut self, statements: &[Stmt<'_>]) {
        statements.iter().for_each(|it| self.statement(it));
    }

    fn for_loop(&mut self, it: &ForLoop<'_>) {
        let kind = self.expression(&it.iter);
        self.inside(|walk| {
            walk.local("loop", Type::Any);
            walk.assign(&it.target, element(&kind));
            if let Some(filter) = &it.filter_expr {
                walk.expression(filter);
            }
            walk.statements(&it.body);
        });
        self.inside(|walk| walk.statements(&it.else_body));
    }

    /// What it is, as far as it is known.
    pub(super) fn expression(&mut self, expr: &Expr<'_>) -> Type {
        match expr {
            Expr::Var(it) => self.variable(it.id, self.range(it.span())),
            Expr::Const(it) => constant(&it.value),
            Expr::Slice(it) => {
                for part in [&it.start, &it.stop, &it.step].into_iter().flatten() {
                    self.expression(part);
                }
                self.expression(&it.expr)
            }
            Expr::UnaryOp(it) => match (&it.op, self.expression(&it.expr)) {
                (UnaryOpKind::Not, _) => Type::Bool,
                (UnaryOpKind::Neg, kind) => kind,
            },
            Expr::BinOp(it) => self.binary(it, self.range(it.span())),
            Expr::Compare(it) => self.compare(it, self.range(it.span())),
            Expr::IfExpr(it) => {
                self.expression(&it.test_expr);
                let yes = self.expression(&it.true_expr);
                let no = it.false_expr.as_ref().map(|it| self.expression(it));
                if no.as_ref().is_none_or(|no| *no == yes) { yes } else { Type::Any }
            }
            Expr::Filter(it) => self.filter(it, it.span()),
            Expr::Test(it) => self.test(it, it.span()),
            Expr::GetAttr(it) => self.attribute(it),
            Expr::GetItem(it) => self.item(it),
            Expr::Call(it) => self.call(it),
            Expr::List(it) => self.several(&it.items),
            Expr::Tuple(it) => self.several(&it.items),
            Expr::Map(it) => {
                self.several(&it.keys);
                self.several(&it.values);
                Type::Any
            }
        }
    }

    fn several(&mut self, items: &[Expr<'_>]) -> Type {
        for item in items {
            self.expression(item);
        }
        Type::list(Type::Any)
    }

    fn variable(&mut self, name: &str, at: Range<usize>) -> Type {
        if let Some(kind) = self.locals.iter().rev().find_map(|names| names.get(name)) {
            return kind.clone();
        }
        if let Some(kind) = self.roots.names.get(name) {
            return kind.clone();
        }
        if self.roots.is_partial {
            return Type::Any;
        }
        self.findings.push(member::no_name(name, self.roots, at));
        Type::Any
    }

    fn attribute(&mut self, it: &GetAttr<'_>) -> Type {
        let kind = self.expression(&it.expr);
        let from = self.range(it.expr.span()).end;
        let at = self.found(it.name, from).unwrap_or(from..from);
        self.member(&kind, it.name, at)
    }

    fn item(&mut self, it: &GetItem<'_>) -> Type {
        let kind = self.expression(&it.expr);
        self.expression(&it.subscript_expr);
        let subscript = it.subscript_expr.as_const();
        match (&kind, subscript.as_ref().and_then(|it| it.as_str())) {
            (Type::Record(_), Some(name)) => {
                let at = self.range(it.subscript_expr.span());
                self.member(&kind, name, at)
            }
            _ => element(&kind),
        }
    }

    fn member(&mut self, kind: &Type, name: &str, at: Range<usize>) -> Type {
        member::of(kind, name, at).unwrap_or_else(|finding| {
            self.findings.push(*finding);
            Type::Any
        })
    }

    fn filter(&mut self, it: &Filter<'_>, span: Span) -> Type {
        let kind = it.expr.as_ref().map_or(Type::Text, |it| self.expression(it));
        self.arguments(&it.args);
        let at = self.name_behind(it.name, it.expr.as_ref(), "|", span);
        match self.known("filter", FILTERS, it.name, at) {
            Some(Gives::Always(simple)) => simple.kind(),
            Some(Gives::Element) => element(&kind),
            Some(Gives::Same) => kind,
            None => Type::Any,
        }
    }

    fn test(&mut self, it: &Test<'_>, span: Span) -> Type {
        let kind = self.expression(&it.expr);
        self.arguments(&it.args);
        let at = self.name_behind(it.name, Some(&it.expr), "is", span);
        self.known("test", TESTS, it.name, at.clone());
        if let [CallArg::Pos(argument)] = it.args.as_slice()
            && let Some(value) = argument.as_const()
        {
            let at = self.range(argument.span());
            self.literal(it.name, value.as_str(), at);
        }
        if it.name == "cidr" && kind.is_number() {
            let message = format!("this is {kind}, and no address");
            self.find("E036", at, message, "use a capture of %{IP:ip}");
        }
        Type::Bool
    }

    /// Arguments that are written out are looked at now.
    fn literal(&mut self, test: &str, value: Option<&str>, at: Range<usize>) {
        match (test, value) {
            ("cidr", Some(it)) if functions::cidr("::", it).is_none() => {
                let message = format!("`{it}` is no network");
                self.find("E038", at, message, "write it like '10.0.0.0/8'");
            }
            ("p4path", Some(it)) if !it.starts_with("//") => {
                let message = format!("`{it}` is no depot path");
                self.find("E038", at, message, "begin with `//`: '//depot/main/...'");
            }
            _ => {}
        }
    }

    fn call(&mut self, it: &Call<'_>) -> Type {
        self.arguments(&it.args);
        match &it.expr {
            Expr::Var(name) => {
                let at = self.range(name.span());
                match self.known("function", FUNCTIONS, name.id, at) {
                    Some(Gives::Always(simple)) => simple.kind(),
                    _ => Type::Any,
                }
            }
            Expr::GetAttr(method) => {
                self.expression(&method.expr);
                let is_loop = matches!(&method.expr, Expr::Var(it) if it.id == "loop");
                if !is_loop {
                    let (name, from) = (method.name, self.range(method.expr.span()).end);
                    let at = self.found(name, from).unwrap_or(from..from);
                    let message = format!("values have no functions, so no `{name}()`");
                    let help = format!("filters do that: write `| {name}`");
                    self.find("E035", at, message, help);
                }
                Type::Any
            }
            other => {
                self.expression(other);
                Type::Any
            }
        }
    }

    fn arguments(&mut self, arguments: &[CallArg<'_>]) {
        for argument in arguments {
            let (CallArg::Pos(it)
            | CallArg::Kwarg(_, it)
            | CallArg::PosSplat(it)
            | CallArg::KwargSplat(it)) = argument;
            self.expression(it);
        }
    }

    fn compare(&mut self, it: &Compare<'_>, at: Range<usize>) -> Type {
        let mut left = (self.expression(&it.expr), &it.expr);
        for op in &it.ops {
            let right = (self.expression(&op.expr), &op.expr);
            if !matches!(op.op, CompareOpKind::In | CompareOpKind::NotIn) {
                self.same_sort(&left.0, &right.0, at.clone());
                self.is_a_word(&left.0, right.1);
                self.is_a_word(&right.0, left.1);
            }
            left = right;
        }
        Type::Bool
    }

    /// A text is never equal to a number, nor is it more or less than one.
    fn same_sort(&mut self, left: &Type, right: &Type, at: Range<usize>) {
        if left.is_text() && right.is_number() || left.is_number() && right.is_text() {
            let help =
                "capture a number, as %{INT:name} does, or make one of it: `name | int`";
            self.find("E036", at, "a text is compared with a number", help);
        }
    }

    fn is_a_word(&mut self, kind: &Type, other: &Expr<'_>) {
        let Type::Word(known) = kind else { return };
        let Some(value) = other.as_const() else { return };
        let Some(written) = value.as_str() else { return };
        if known.contains(&written) {
            return;
        }
        let meant = words::did_you_mean(written, known.iter().copied());
        let at = self.range(other.span());
        let help = words::alternatives(known.iter().copied());
        self.find(
            "E037",
            at,
            format!("it is never `{written}`"),
            format!("it can be {help}"),
        )
        .label = meant.map(did_you_mean).unwrap_or_default();
    }

    fn binary(&mut self, it: &BinOp<'_>, at: Range<usize>) -> Type {
        let left = self.expression(&it.left);
        let right = self.expression(&it.right);
        match it.op {
            BinOpKind::ScAnd | BinOpKind::ScOr => Type::Any,
            BinOpKind::In => Type::Bool,
            BinOpKind::Eq
            | BinOpKind::Ne
            | BinOpKind::Lt
            | BinOpKind::Lte
            | BinOpKind::Gt
            | BinOpKind::Gte => {
                self.same_sort(&left, &right, at);
                self.is_a_word(&left, &it.right);
                self.is_a_word(&right, &it.left);
                Type::Bool
            }
            BinOpKind::Concat => Type::Text,
            BinOpKind::Add if left.is_text() && right.is_text() => Type::Text,
            BinOpKind::Mul if left.is_text() || right.is_text() => Type::Any,
            op if left.is_text() || right.is_text() => {
                if left.is_number() || right.is_number() || !matches!(op, BinOpKind::Add)
                {
                    let help = "make a number of it, `name | int`, or join texts by `~`";
                    self.find("E036", at, "a text cannot be reckoned with", help);
                }
                Type::Any
            }
            BinOpKind::Add | BinOpKind::Sub | BinOpKind::Mul | BinOpKind::Rem
                if left == Type::Int && right == Type::Int =>
            {
                Type::Int
            }
            _ => Type::Any,
        }
    }

    fn known(
        &mut self,
        noun: &str,
        table: &'static [Function],
        name: &str,
        at: Range<usize>,
    ) -> Option<Gives> {
        if let Some(function) = table.iter().find(|it| it.name == name) {
            return Some(function.gives);
        }
        let known = || table.iter().map(|it| it.name);
        let meant = words::did_you_mean(name, known());
        let help = format!("there are {}", known().collect::<Vec<_>>().join(", "));
        self.find("E035", at, format!("there is no {noun} `{name}`"), help).label =
            meant.map(did_you_mean).unwrap_or_default();
        None
    }

    fn refuse(&mut self, span: Span, tag: &str) {
        let at = self.range(span);
        let help = "tags are `if`, `for`, `set` and `with`; texts that are used often \
            belong into `define`";
        self.find("E033", at, format!("there is no {{% {tag} %}} here"), help);
    }

    fn find(
        &mut self,
        code: &'static str,
        at: Range<usize>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> &mut Finding {
        let (message, help) = (message.into(), help.into());
        self.findings.push(Finding { code, at, message, label: String::new(), help });
        let last = self.findings.len() - 1;
        &mut self.findings[last]
    }

    fn assign(&mut self, target: &Expr<'_>, kind: Type) {
        match target {
            Expr::Var(it) => self.local(it.id, kind),
            Expr::List(it) => it.items.iter().for_each(|it| self.assign(it, Type::Any)),
            Expr::Tuple(it) => it.items.iter().for_each(|it| self.assign(it, Type::Any)),
            _ => {}
        }
    }

    fn local(&mut self, name: &str, kind: Type) {
        if let Some(names) = self.locals.last_mut() {
            names.insert(name.to_owned(), kind);
        }
    }

    fn inside(&mut self, walk: impl FnOnce(&mut Self)) {
        self.locals.push(BTreeMap::new());
        walk(self);
        self.locals.pop();
    }

    /// The first place of a name at or behind a byte.
    fn found(&self, name: &str, from: usize) -> Option<Range<usize>> {
        let at = from + self.text.get(from..)?.find(name)?;
        Some(at..at + name.len())
    }

    /// Where the name of a filter or a test stands.
    fn name_behind(
        &self,
        name: &str,
        expr: Option<&Expr<'_>>,
        mark: &str,
        span: Span,
    ) -> Range<usize> {
        let whole = self.range(span);
        let from = expr.map_or(whole.start, |it| self.range(it.span()).end);
        let mark = self.found(mark, from).map_or(from, |it| it.end);
        self.found(name, mark).unwrap_or(whole)
    }

    fn range(&self, span: Span) -> Range<usize> {
        let bound = |offset: u32| {
            let mut at = usize::try_from(offset).unwrap_or_default().min(self.text.len());
            while !self.text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let start = bound(span.start_offset);
        start..bound(span.end_offset).max(start)
    }
}

/// What one of several is.
fn element(kind: &Type) -> Type {
    match kind {
        Type::List(of) => (**of).clone(),
        Type::Text => Type::Text,
        _ => Type::Any,
    }
}

fn constant(value: &minijinja::Value) -> Type {
    match value.kind() {
        ValueKind::String => Type::Text,
        ValueKind::Number if value.is_integer() => Type::Int,
        ValueKind::Number => Type::Float,
        ValueKind::Bool => Type::Bool,
        _ => Type::Any,
    }
}
