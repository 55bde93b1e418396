//! Which actions wait for which.

use super::Compiler;
use crate::model::Action;

impl Compiler<'_> {
    /// For each action the indexes of those that it needs.
    pub(super) fn needs(&mut self, actions: &[Action]) -> Vec<Vec<usize>> {
        let ids: Vec<Option<&str>> =
            actions.iter().map(|it| it.id.as_ref().map(|id| id.value.as_str())).collect();
        self.ids_are_unique(actions);
        let mut graph = Vec::with_capacity(actions.len());
        for (index, action) in actions.iter().enumerate() {
            let Some(needs) = &action.needs else {
                graph.push(index.checked_sub(1).into_iter().collect());
                continue;
            };
            let mut found = Vec::new();
            for name in needs {
                match ids.iter().position(|id| *id == Some(name.value.as_str())) {
                    Some(other) => found.push(other),
                    None => {
                        let known = ids.iter().flatten().copied();
                        let none = "give the action that is meant an id: id: \"..\"";
                        self.unknown("E043", "action", name, known, none);
                    }
                }
            }
            graph.push(found);
        }
        if let Some(ring) = ring(&graph) {
            self.say_ring(actions, &ring);
        }
        graph
    }

    fn ids_are_unique(&mut self, actions: &[Action]) {
        for (index, action) in actions.iter().enumerate() {
            let Some(id) = &action.id else { continue };
            let same =
                |it: &&Action| it.id.as_ref().is_some_and(|it| it.value == id.value);
            if let Some(first) = actions[..index].iter().find(same) {
                let first = first.id.as_ref().map_or(0..0, |id| id.span.clone());
                let message = format!("there are two actions named `{}`", id.value);
                self.error("E041", id.span.clone(), message)
                    .also(first, "the first one")
                    .help("give one of them another id");
            }
            let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            let name = id.value.replace('-', "_");
            if !super::is_identifier(&name) || !id.value.chars().all(is_word) {
                self.error("E031", id.span.clone(), "this cannot be an id")
                    .help("ids are made of letters, digits, `-` and `_`, and begin with a letter");
            } else if Self::is_a_root(&name) {
                self.error(
                    "E031",
                    id.span.clone(),
                    format!("`{name}` is a name of the language"),
                )
                .help(format!("write another one, such as \"do-{}\"", id.value));
            }
        }
    }

    fn say_ring(&mut self, actions: &[Action], ring: &[usize]) {
        let name = |index: &usize| {
            let id = actions.get(*index).and_then(|it| it.id.as_ref());
            id.map_or_else(|| format!("action {}", index + 1), |id| id.value.clone())
        };
        let mut names: Vec<String> = ring.iter().map(name).collect();
        names.extend(names.first().cloned());
        let place = |index: usize| {
            let action = &actions[index];
            let written = action.needs.iter().flatten().next();
            written.map_or_else(|| action.word.clone(), |name| name.span.clone())
        };
        let Some((&first, others)) = ring.split_first() else { return };
        let others: Vec<_> =
            others.iter().map(|&index| (place(index), name(&index))).collect();
        let message = format!("actions wait for each other: {}", names.join(" → "));
        let diagnostic = self.error("E040", place(first), message);
        diagnostic.label("this one waits").help("take one of these names out of `needs`");
        for (span, name) in others {
            diagnostic.also(span, format!("and so does `{name}`"));
        }
    }
}

/// Indexes that wait for each other in a ring, if there are any.
fn ring(graph: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut is_done = vec![false; graph.len()];
    for start in 0..graph.len() {
        let mut path = vec![(start, 0)];
        while let Some((node, next)) = path.last_mut() {
            if is_done[*node] {
                path.pop();
                continue;
            }
            let Some(&other) = graph[*node].get(*next) else {
                is_done[*node] = true;
                path.pop();
                continue;
            };
            *next += 1;
            if let Some(at) = path.iter().position(|(it, _)| *it == other) {
                return Some(path[at..].iter().map(|(it, _)| *it).collect());
            }
            path.push((other, 0));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_are_found() {
        assert_eq!(ring(&[vec![], vec![0], vec![0, 1]]), None);
        assert_eq!(ring(&[vec![0]]), Some(vec![0]));
        assert_eq!(ring(&[vec![1], vec![2], vec![0]]), Some(vec![0, 1, 2]));
        assert_eq!(ring(&[vec![], vec![2], vec![1]]), Some(vec![1, 2]));
    }
}
