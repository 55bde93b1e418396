//! Entries over a connection of bytes.
//!
//! What a receiver's system acknowledged is settled, and nothing else: that a
//! `write` returned says only that the bytes wait in this machine.
//! `stream/connection.rs` counts what has arrived.

mod connection;

use super::Settings;
use super::dial::{Dialer, Pace, connect_tcp};
use super::format::Encoder;
use super::progress::Progress;
use super::target::Target;
use super::tls::Tls;
use super::tls::session::Session;
use connection::{Connection, End};
use std::net::TcpStream;
use std::time::Instant;
use tripline_api::{Flushed, Gap, ListenError, Listener, View};

/// The listener.
///
/// Without a connection nothing is under way: what a connection took is either
/// settled, or arrived, or was said to be lost when it ended.
pub(super) struct Stream {
    settings: Settings,
    encoder: Encoder,
    dialer: Dialer<Line>,
    connection: Option<Connection>,
    /// Everything the connection had taken at the last flush, until that is
    /// settled.
    mark: Option<u64>,
    /// What cannot be sent as it is in the batch; kept for its memory.
    buffer: Vec<u8>,
    progress: Progress,
}

impl Listener for Stream {
    /// Takes all entries or, with [`ListenError::Retry`], none of them. What
    /// the receiver does not take in time waits in the connection, so that the
    /// next call returns in time too.
    fn listen(&mut self, entries: &View<'_>) -> Result<(), ListenError> {
        let until = Instant::now() + self.settings.patience;
        if let Some(bytes) = self.encoder.as_they_are(entries) {
            let pushed = self.connected(until)?.push(bytes, until);
            return self.has_pushed(pushed);
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = self.send(entries, &mut buffer, until);
        buffer.clear();
        buffer.shrink_to(BUFFER_BYTES_KEPT);
        self.buffer = buffer;
        result
    }

    /// Sends what the format has to say about it.
    fn gap(&mut self, gap: &Gap) -> Result<(), ListenError> {
        let mut message = Vec::new();
        if !self.encoder.gap(gap, &mut message) {
            return Ok(());
        }
        let until = Instant::now() + self.settings.patience;
        let pushed = self.connected(until)?.push(&message, until);
        self.has_pushed(pushed)
    }

    fn flush(&mut self) -> Result<Flushed, ListenError> {
        self.mark = self.connection.as_ref().map(Connection::accepted);
        Ok(if self.is_flushed()? { Flushed::All } else { Flushed::Soon })
    }

    fn is_flushed(&mut self) -> Result<bool, ListenError> {
        let Some((connection, mark)) = self.connection.as_mut().zip(self.mark) else {
            return Ok(true);
        };
        let end = match connection.look() {
            // That it was closed after that is the next call's matter.
            None | Some(End::Closed) if connection.settles(mark) => {
                self.mark = None;
                if mark > 0 {
                    self.dialer.confirmed();
                }
                return Ok(true);
            }
            None => match connection.drain(Instant::now()) {
                Ok(_) => return Ok(false),
                Err(end) => end,
            },
            Some(end) => end,
        };
        self.end(end)?;
        Ok(true)
    }

    /// A connection that was closed while nothing came need not be kept.
    fn no_data(&mut self, _: bool) -> Result<(), ListenError> {
        if let Some(end) = self.connection.as_mut().and_then(Connection::look) {
            self.end(end)?;
        }
        Ok(())
    }
}

impl Stream {
    /// Over TLS where that is configured.
    pub(super) fn new(
        to: Target,
        tls: Option<Tls>,
        encoder: Encoder,
        settings: Settings,
    ) -> Self {
        let pace = Pace::new(settings.first_pause);
        let timeout = settings.connect_timeout;
        let connect = move |to: &Target| {
            let caller = tls.as_ref().map(|tls| tls.prepare(to)).transpose()?;
            let mut stream = connect_tcp(to, timeout)?;
            let begun = caller.map(|caller| caller.begin(to, &mut stream, timeout));
            Ok((stream, begun.transpose()?.map(Session::new)))
        };
        Self {
            settings,
            encoder,
            dialer: Dialer::new(to, connect, pace),
            connection: None,
            mark: None,
            buffer: Vec::new(),
            progress: Progress::default(),
        }
    }

    /// Builds the entries in the buffer, a part at a time, and sends each. With
    /// [`ListenError::Retry`] the next call goes on where this one ended.
    fn send(
        &mut self,
        entries: &View<'_>,
        buffer: &mut Vec<u8>,
        until: Instant,
    ) -> Result<(), ListenError> {
        let mut done = self.progress.take(entries);
        let mut rest = entries.entries().skip(done);
        loop {
            // Forgotten when the connection ends.
            self.progress.keep(entries, done);
            let count = self.encoder.fill(&mut rest, buffer);
            if count == 0 {
                self.progress.forget();
                return Ok(());
            }
            let pushed = self.connected(until)?.push(buffer, until);
            self.has_pushed(pushed)?;
            done += count;
        }
    }

    /// What a push came to. When bytes were not taken, those that were taken
    /// before are: it is not forgotten how far that was.
    fn has_pushed(&mut self, pushed: Result<bool, End>) -> Result<(), ListenError> {
        match pushed {
            Ok(true) => Ok(()),
            Ok(false) => Err(ListenError::Retry(format!(
                "the receiver at {} takes no more for now",
                self.dialer.target()
            ))),
            Err(end) => Err(ListenError::Retry(self.end(end)?)),
        }
    }

    /// A connection to write to.
    fn connected(&mut self, until: Instant) -> Result<&mut Connection, ListenError> {
        if let Some(end) = self.connection.as_mut().and_then(Connection::check) {
            self.end(end)?;
        }
        self.connect(until)?;
        let target = self.dialer.target();
        self.connection
            .as_mut()
            .ok_or_else(|| ListenError::Retry(format!("not connected to {target}")))
    }

    fn connect(&mut self, until: Instant) -> Result<(), ListenError> {
        if self.connection.is_some() {
            return Ok(());
        }
        let (stream, session) = self.dialer.dial(until).map_err(ListenError::Retry)?;
        let timeout = self.settings.acknowledge_timeout;
        let connection = Connection::new(stream, session, timeout);
        let connection = connection.map_err(|error| {
            let to = self.dialer.target();
            ListenError::io(format_args!("cannot use a connection to {to}"), &error)
        })?;
        // It may have stood for a while, or have been dropped at once.
        match self.connection.insert(connection).check() {
            None => Ok(()),
            Some(end) => Err(ListenError::Retry(self.end(end)?)),
        }
    }

    /// The connection is over. Says why, when nothing is in doubt.
    fn end(&mut self, end: End) -> Result<String, ListenError> {
        let to = self.dialer.target();
        let mut why = match &end {
            End::Closed => format!("the receiver at {to} closed the connection"),
            End::Broken(error) => format!("the connection to {to} broke: {error}"),
            End::Stalled(timeout) => {
                format!("the receiver at {to} has not taken anything for {timeout:?}")
            }
        };
        self.mark = None;
        self.progress.forget();
        let Some(connection) = self.connection.take() else { return Ok(why) };
        let in_doubt = connection.in_doubt(&end);
        if in_doubt == 0 {
            if connection.accepted() > 0 {
                self.dialer.confirmed();
            }
            self.dialer.ended(why.clone());
            return Ok(why);
        }
        connection.abort();
        why += ": what it did not confirm is sent again";
        self.dialer.ended(why.clone());
        Err(ListenError::Lost(why))
    }
}

/// What a call comes to.
type Line = (TcpStream, Option<Session>);

/// So much memory is kept for entries that are built.
const BUFFER_BYTES_KEPT: usize = 2 * 1024 * 1024;

#[cfg(test)]
mod tests;
