//! `Post`: by the HTTP of the listener `Forward`.

use crate::{Hands, Outcome, Stop, Waited, done, failed, key};
use std::time::{Duration, Instant};
use tripline_listeners::single::{NoAnswer, Post, PostAnswer};
use tripline_rules::evaluate::{Job, Start};

const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

impl Hands {
    pub(crate) fn post(
        &self,
        start: &Start,
        until: Instant,
        stop: &Stop,
    ) -> Option<Outcome> {
        let (start, directory) = (start.clone(), self.context.directory.clone());
        let work = move || {
            let Job::Post { url, headers, body, is_json, token } = &start.job else {
                return Err(NoAnswer::Wrong("this is nothing to post".to_owned()));
            };
            let token = token.as_ref().map(|token| directory.join(token));
            let post = Post {
                url,
                headers,
                token: token.as_deref(),
                content_type: if *is_json { JSON } else { TEXT },
                body: body.as_bytes(),
                key: &key(&start),
                timeout: until.saturating_duration_since(Instant::now()),
            };
            post.send()
        };
        Some(match self.aside.run("post", until, stop, work, || {}) {
            Waited::Said(Ok(answer)) => outcome(&answer),
            Waited::Said(Err(NoAnswer::TimedOut(why))) => {
                Outcome::TimedOut { stderr: format!("[tripline: {why}]\n") }
            }
            Waited::Said(Err(NoAnswer::Failed(why) | NoAnswer::Wrong(why))) => {
                failed(why)
            }
            waited => return waited.outcome(),
        })
    }
}

fn outcome(answer: &PostAnswer) -> Outcome {
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    let PostAnswer { status, from, .. } = answer;
    let what = match status {
        200..=299 => return done(body, String::new()),
        300..=399 => {
            let to = answer.location.as_ref();
            let to = to.map_or_else(String::new, |to| format!(" to {to}"));
            format!(
                ", a redirection{to}, which is not followed: write where it leads in `url`"
            )
        }
        401 | 403 | 407 => ", it does not let us in: see to `token`".to_owned(),
        404 | 405 => ", nothing is posted there: see to `url`".to_owned(),
        408 | 425 | 429 | 500..=599 => match answer.retry_after {
            Some(after) => format!(", and wants to be asked again {}", when(after)),
            None => String::new(),
        },
        400..=499 => ", it will not take this".to_owned(),
        _ => ", which is no answer".to_owned(),
    };
    let said = answer.said();
    let said = if said.is_empty() { said } else { format!(": {said}") };
    let reason = format!("{from} answered {status}{what}{said}");
    Outcome::Failed { exit: i64::from(*status), reason, stderr: body }
}

fn when(after: Duration) -> String {
    match after.as_secs() {
        0 => "at once".to_owned(),
        seconds => format!("in {seconds} s"),
    }
}
