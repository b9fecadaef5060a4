use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::client::Pages;
use crate::failure::Failure;
use crate::output::{self, Format};
use crate::resource;
use crate::session::Session;

/// How long to let a control plane be away that is being followed, before that is a failure.
const ABSENCE: Duration = Duration::from_secs(30);

/// Between two attempts to reach it again.
const PAUSE: Duration = Duration::from_millis(500);

#[derive(Args)]
pub struct Events {
    /// Go on with what happens from now on, until interrupted; programs get one JSON document on each line
    #[arg(short, long)]
    follow: bool,

    /// Only events after this sequence number
    #[arg(long, value_name = "SEQUENCE", default_value_t = 0)]
    after: u64,
}

impl Events {
    pub(crate) fn run(self, session: &Session) -> Result<(), Failure> {
        if self.follow { self.follow(session) } else { self.print(session) }
    }

    /// Page by page, so that a journal of any length needs no memory.
    fn print(&self, session: &Session) -> Result<(), Failure> {
        let after = self.after.to_string();
        if session.format() != Format::Table {
            return session.print_list::<resource::Event>("/events", &[("after", &after)]);
        }
        for page in Pages::new(&session.client, "/events", &[("after", &after)]) {
            let rows = page?.iter().map(|item| output::read(item.get())).collect::<Result<Vec<_>, _>>()?;
            output::write(&output::table::<resource::Event>(&rows))?;
        }
        Ok(())
    }

    /// From the last event seen, as often as the connection ends: none is missed and none comes twice.
    fn follow(&self, session: &Session) -> Result<(), Failure> {
        let mut last = self.after;
        let mut seen = Instant::now();
        loop {
            match session.client.follow("/events", &last.to_string()) {
                Ok(stream) => {
                    for received in stream {
                        let event: resource::Event = output::read(&received.data)?;
                        if event.sequence > last {
                            last = event.sequence;
                            print_one(session.format(), &event, &received.data)?;
                        }
                    }
                    seen = Instant::now();
                }
                Err(failure) if failure.may_pass() && seen.elapsed() < ABSENCE => {}
                Err(failure) => return Err(failure),
            }
            thread::sleep(PAUSE);
        }
    }
}

fn print_one(format: Format, event: &resource::Event, data: &str) -> Result<(), Failure> {
    match format {
        Format::Table => output::write(&event.line()),
        Format::Json => output::write(&format!("{data}\n")),
        Format::Yaml => output::write(&format!("---\n{}", output::document(data, format)?)),
    }
}
