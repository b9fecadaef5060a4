//! What the agent says of itself: one line for each event on standard error, as `key=value`.

use std::collections::BTreeMap;

use mainstay_types::Timestamp;

use crate::output;

/// What fails is said when it begins, when its reason changes, and when it is over; not at each attempt.
#[derive(Default)]
pub(super) struct Report {
    failing: BTreeMap<String, String>,
}

impl Report {
    pub fn info(&self, event: &str, fields: &[(&str, &str)]) {
        say("info", event, fields);
    }

    pub fn warn(&self, event: &str, fields: &[(&str, &str)]) {
        say("warn", event, fields);
    }

    pub fn failing(&mut self, subject: &str, reason: &str) {
        let before = self.failing.insert(subject.to_owned(), reason.to_owned());
        if before.as_deref() != Some(reason) {
            say("error", "failing", &[("subject", subject), ("reason", reason)]);
        }
    }

    pub fn fine(&mut self, subject: &str) {
        if self.failing.remove(subject).is_some() {
            say("info", "recovered", &[("subject", subject)]);
        }
    }
}

fn say(level: &str, event: &str, fields: &[(&str, &str)]) {
    output::message(&line(&Timestamp::now().to_string(), level, event, fields));
}

fn line(time: &str, level: &str, event: &str, fields: &[(&str, &str)]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+,".contains(&byte);
    let mut line = format!("time={time} level={level} event={event}");
    for (name, value) in fields {
        let bare = !value.is_empty() && value.bytes().all(plain);
        line += &if bare { format!(" {name}={value}") } else { format!(" {name}={value:?}") };
    }
    line
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_line_is_one_line() {
        assert_eq!(
            line("T", "info", "rendered", &[("file", "/run/a.env"), ("reason", "no \"x\"\nhere"), ("empty", "")]),
            r#"time=T level=info event=rendered file=/run/a.env reason="no \"x\"\nhere" empty="""#
        );
    }
}
