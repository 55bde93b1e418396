//! What is sent and heard over TLS.

use rustls::ClientConnection;
use std::io::{self, Write as _};

/// Encrypts what goes out, and reads what comes in only to know how it goes on.
pub(in crate::forward) struct Session(Box<ClientConnection>);

/// What is encrypted at once.
const PART_BYTES: usize = 64 * 1024;

impl Session {
    /// Takes over after the handshake.
    pub(in crate::forward) fn new(client: ClientConnection) -> Self {
        let mut client = Box::new(client);
        client.set_buffer_limit(None);
        Self(client)
    }

    /// Appends the bytes, encrypted. They must go out in this order.
    pub(in crate::forward) fn encrypt(
        &mut self,
        bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        for part in bytes.chunks(PART_BYTES) {
            self.0.writer().write_all(part)?;
            self.take_output(out)?;
        }
        Ok(())
    }

    /// Takes what came, and throws away what it says; appends what has to be
    /// answered. Returns `false` when the receiver closed its side.
    pub(in crate::forward) fn hear(
        &mut self,
        mut came: &[u8],
        out: &mut Vec<u8>,
    ) -> io::Result<bool> {
        let mut is_open = true;
        while !came.is_empty() {
            self.0.read_tls(&mut came)?;
            let state = self.0.process_new_packets().map_err(io::Error::other)?;
            is_open &= !state.peer_has_closed();
            let said = io::copy(&mut self.0.reader(), &mut io::sink());
            // That there is nothing more, for now or for ever, is no failure.
            said.or_else(|error| match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::UnexpectedEof => Ok(0),
                _ => Err(error),
            })?;
            self.take_output(out)?;
        }
        Ok(is_open)
    }

    /// Appends the words that nothing more follows.
    pub(in crate::forward) fn close(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        self.0.send_close_notify();
        self.take_output(out)
    }

    fn take_output(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        while self.0.wants_write() {
            self.0.write_tls(out)?;
        }
        Ok(())
    }
}
