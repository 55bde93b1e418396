//! Each text that an action can have: a name in it that is not there is found, at its place
//! and with what was meant; and where nothing is filled in, it is said that nothing is. The
//! table of the language is gone through, so that a field more is tested without a line here.

use tripline_rules::language::{ACTIONS, Block, Field, Holds, Need, ON, RULE, Wants};
use tripline_rules::{Diagnostic, Known, SourceFile, load};

/// What is written where a text may stand: `user` is captured.
const WRONG: &str = "https://host.example.com/{{ usre }}";

/// A place in a field: how it is written there, and whether it is a template.
fn places(field: &Field) -> Vec<(String, bool)> {
    let text = format!("{WRONG:?}");
    let is_template = |holds| match holds {
        Holds::Template => true,
        Holds::Plain | Holds::Name => false,
        Holds::FieldName | Holds::Pattern | Holds::Expression => {
            panic!(
                "`{}` of an action holds {holds:?}: say here what is tested",
                field.name
            )
        }
    };
    match field.wants {
        Wants::Text(holds) => vec![(text, is_template(holds))],
        Wants::Texts(holds) | Wants::TextList(holds) => {
            // The first may be special: the program of `run`.
            vec![(format!("[\"/bin/true\", {text}]"), is_template(holds))]
        }
        Wants::TextMap(holds) => vec![
            (format!("{{\"X\": {text}}}"), is_template(holds)),
            (format!("{{{text}: \"x\"}}"), false),
        ],
        Wants::Json => vec![
            (text.clone(), true),
            (format!("[1, {{\"x\": [{text}]}}]"), true),
            (format!("{{\"x\": [{{{text}: 1}}]}}"), false),
        ],
        Wants::Raw => vec![(format!("Smtp(server: {text})"), false)],
        Wants::Duration
        | Wants::Number(..)
        | Wants::Flag
        | Wants::Word(_)
        | Wants::Words(_)
        | Wants::Block(_) => Vec::new(),
        wants => panic!(
            "`{}` of an action wants {wants:?}: say here what is tested",
            field.name
        ),
    }
}

/// An action of this kind with one of its fields written so.
fn action(block: &Block, field: &str, written: &str) -> String {
    let needed = block.all_fields().filter(|it| it.need == Need::Required);
    let others = needed.filter(|it| it.name != field).map(|it| (it.name, it.example));
    let fields = others.chain([(field, written)]);
    let fields: Vec<_> = fields.map(|(name, value)| format!("{name}: {value}")).collect();
    format!("{}({})", block.word, fields.join(", "))
}

/// Rules with the action in each list of actions that there is.
fn files(action: &str) -> [String; 4] {
    let mail = "Mail(to: [\"a@example.com\"], subject: \"x\")";
    let file = |rest: String| {
        format!(
            "(rules: [(name: \"r\", on: Lines(source: \"log\"), match: r\"^(?P<user>\\S+) \", \
             by: [\"user\"], {rest})])"
        )
    };
    [
        file(format!("do: [{action}]")),
        file(format!("do: [{mail}], on_failure: [{action}]")),
        file(format!("do: [{mail}], limit: (times: 1, per: \"1m\", then: [{action}])")),
        file(format!("when: Absent(for: \"5m\"), do: [{mail}], on_return: [{action}]")),
    ]
}

fn found(file: &str) -> Vec<Diagnostic> {
    load(&[SourceFile::new("a.ron", file)], &Known::default()).diagnostics
}

#[test]
fn every_template_of_every_action_is_checked() {
    let mut count = 0;
    for block in ACTIONS {
        for field in block.all_fields() {
            for (written, is_template) in places(field) {
                count += usize::from(is_template);
                for file in files(&action(block, field.name, &written)) {
                    let found = found(&file);
                    let is_it = |it: &&Diagnostic| {
                        let at = &file[it.span.clone()];
                        match is_template {
                            true => {
                                at == "usre" && it.label.contains("did you mean `user`")
                            }
                            false => {
                                at.contains("usre") && it.message.contains("no template")
                            }
                        }
                    };
                    assert_eq!(
                        found.iter().filter(is_it).count(),
                        1,
                        "`{}` of {}, {is_template}: {file}\n{found:#?}",
                        field.name,
                        block.title
                    );
                }
            }
        }
    }
    assert!(count >= 15, "{count} templates");
}

/// What listeners read is theirs, and nothing is filled in.
#[test]
fn arguments_of_listeners_are_no_templates() {
    for action in [
        "Print(to: \"/var/log/{{ user }}.jsonl\")",
        "Forward(to: \"tcp://127.0.0.1:6514\", format: Rfc5424(app_name: \"{{ user }}\"))",
    ] {
        for file in files(action) {
            let found = found(&file);
            let [one] = found.as_slice() else { panic!("{file}\n{found:#?}") };
            assert!(one.message.contains("no template"), "{}", one.message);
            assert!(file[one.span.clone()].contains("{{ user }}"));
        }
    }
}

/// Nor are the names by which rules belong together.
#[test]
fn names_are_no_templates() {
    let field = |it: &&Field| matches!(it.wants, Wants::Text(Holds::Name));
    let names: Vec<_> = RULE.all_fields().filter(field).map(|it| it.name).collect();
    assert!(names.contains(&"one_at_a_time") && !ON.is_empty(), "{names:?}");
    let file = "(rules: [(name: \"r\", on: Lines(source: \"{{ s }}\"), match: \"x\", \
                one_at_a_time: \"{{ event.host }}\", do: [Emit(kind: \"{{ orderr }}\")])])";
    let found = found(file);
    let at: Vec<_> = found.iter().map(|it| &file[it.span.clone()]).collect();
    let wanted = ["\"{{ s }}\"", "\"{{ event.host }}\"", "\"{{ orderr }}\""];
    assert_eq!(at, wanted, "{found:#?}");
}
