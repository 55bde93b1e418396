//! One mail at a time, in a thread of its own: no lane waits for a server.

use super::message::Sealed;
use super::smtp::Cancel;
use super::transport::{Report, Transport};
use std::sync::mpsc::{self, TryRecvError};
use std::thread;

/// Sends a mail in the background.
///
/// The thread ends with the mail. When the mailer is dropped the connection is
/// ended, and with it the thread, unless the system is just looking up a name,
/// which nothing can break off; nobody waits for it.
#[derive(Debug)]
pub(super) struct Mailer {
    transport: Transport,
    under_way: Option<(mpsc::Receiver<Report>, Cancel)>,
}

impl Mailer {
    pub(super) const fn new(transport: Transport) -> Self {
        Self { transport, under_way: None }
    }

    pub(super) const fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(super) const fn is_sending(&self) -> bool {
        self.under_way.is_some()
    }

    /// Begins to send. What was under way before is broken off.
    pub(super) fn start(&mut self, mail: Sealed) -> Result<(), String> {
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
    pub(super) fn report(&mut self) -> Option<Report> {
        let (receiver, _) = self.under_way.as_ref()?;
        let report = match receiver.try_recv() {
            Ok(report) => report,
            Err(TryRecvError::Empty) => return None,
            Err(TryRecvError::Disconnected) => {
                Report::Failed("what sends the mail died".to_owned())
            }
        };
        self.under_way = None;
        Some(report)
    }

    /// Breaks off what is under way.
    pub(super) fn stop(&mut self) {
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
