//! One mail at a time, in a thread of its own: no lane waits for a server.

use super::message::Sealed;
use super::smtp::Cancel;
use super::transport::{Report, Transport};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// Sends a mail in the background.
///
/// The thread ends with the mail. When the mailer is dropped the connection is
/// ended, and with it the thread, unless the system is just looking up a name,
/// which nothing can break off; nobody waits for it.
#[derive(Debug)]
pub(crate) struct Mailer {
    transport: Transport,
    under_way: Option<(mpsc::Receiver<Report>, Cancel)>,
}

impl Mailer {
    pub(crate) const fn new(transport: Transport) -> Self {
        Self { transport, under_way: None }
    }

    pub(crate) const fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(crate) const fn is_sending(&self) -> bool {
        self.under_way.is_some()
    }

    /// Begins to send. What was under way before is broken off.
    pub(crate) fn start(&mut self, mail: Sealed) -> Result<(), String> {
        self.stop();
        let (sender, receiver) = mpsc::sync_channel(1);
        let cancel = Cancel::default();
        let (transport, cancelled) = (self.transport.clone(), cancel.clone());
        // When the mailer is gone there is nobody to hear it.
        let send = move || {
            let (report, goodbye) = transport.send(&mail, &cancelled);
            _ = sender.send(report);
            // It is written down meanwhile.
            drop(goodbye);
        };
        thread::Builder::new()
            .name("mail".into())
            .spawn(send)
            .map_err(|error| format!("cannot send a mail: no thread: {error}"))?;
        self.under_way = Some((receiver, cancel));
        Ok(())
    }

    /// What became of the mail, once. Does not wait.
    pub(crate) fn report(&mut self) -> Option<Report> {
        self.report_within(Duration::ZERO)
    }

    /// What became of the mail, once. Waits so long at most.
    pub(crate) fn report_within(&mut self, patience: Duration) -> Option<Report> {
        let (receiver, _) = self.under_way.as_ref()?;
        let report = match receiver.recv_timeout(patience) {
            Ok(report) => report,
            Err(RecvTimeoutError::Timeout) => return None,
            Err(RecvTimeoutError::Disconnected) => {
                Report::Failed("what sends the mail died".to_owned())
            }
        };
        self.under_way = None;
        Some(report)
    }

    /// Sends a mail and waits for what becomes of it.
    pub(crate) fn send_now(&self, mail: &Sealed) -> Report {
        self.transport.send(mail, &Cancel::default()).0
    }

    /// Breaks off what is under way.
    pub(crate) fn stop(&mut self) {
        if let Some((_, cancel)) = self.under_way.take() {
            cancel.cancel();
        }
    }
}

impl Drop for Mailer {
    fn drop(&mut self) {
        self.stop();
    }
}
