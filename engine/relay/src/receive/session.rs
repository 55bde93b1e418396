//! A connection that was let in: frames in, acknowledgements out.

use super::commit::Waker;
use super::desk::Desk;
use super::server::Shared;
use crate::link::{Link, LinkError};
use crate::wire::{Frame, NAME_BYTES_MAX, VERSION, printable};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// A commit begins when nothing more has come, and at the latest behind so many
/// bytes.
const GROUP_BYTES: usize = 4 * 1024 * 1024;
/// Nothing more is read while so many bytes wait for a commit that is under way.
const UNSYNCED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// At most so many reads in a row without a look at anything else.
const READS_MAX: usize = 16;
/// Whoever waits for an acknowledgement hears this often that we are there.
const ALIVE_EVERY: Duration = Duration::from_secs(1);
/// Otherwise the connection is looked after this often.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// A frame that has begun is whole after so long.
const FRAME_TIMEOUT: Duration = Duration::from_secs(60);
/// A sender says so soon what it is called.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// When it is over the last words get so long to be written.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a connection is over.
pub(super) enum End {
    /// It was closed, it broke, or what came is no frame.
    Link(LinkError),
    /// We do not go on: the sentence is for both sides.
    Refused(String),
    /// The sender does not go on, and said why.
    Left(String),
    /// The receiver is told to stop.
    Stopped,
}

impl From<LinkError> for End {
    fn from(error: LinkError) -> Self {
        Self::Link(error)
    }
}

/// Whether somebody waits for the end of this connection.
#[derive(Debug, Default)]
pub(super) struct Wanted(AtomicBool);

impl Wanted {
    pub(super) fn ask(&self) {
        self.0.store(true, SeqCst);
    }
}

/// The name of the stream that a peer has to say first.
pub(super) fn hear_hello(link: &mut Link, shared: &Shared) -> Result<String, End> {
    let until = Instant::now() + HELLO_TIMEOUT;
    loop {
        if shared.is_stopping() {
            return Err(End::Stopped);
        }
        match link.take()? {
            Some(Frame::Hello { version, stream }) if version == VERSION => {
                debug_assert!(stream.len() <= NAME_BYTES_MAX);
                return Ok(stream.to_owned());
            }
            Some(Frame::Hello { version, .. }) => {
                return Err(End::Refused(format!(
                    "it speaks version {version} of the protocol and this receiver \
                     {VERSION}: bring the older one up to date"
                )));
            }
            Some(_) => return Err(End::Refused("it did not say hello".to_owned())),
            None if Instant::now() >= until => {
                return Err(End::Refused(format!(
                    "it said nothing for {HELLO_TIMEOUT:?}"
                )));
            }
            None => {}
        }
        if !link.read()? {
            link.wait(true, until, Some(shared.stop.as_fd()))?;
        }
    }
}

/// Takes everything that comes, until the connection is over. Nothing is under way
/// when this returns.
pub(super) fn serve(
    link: &mut Link,
    desk: &mut Desk,
    shared: &Shared,
    waker: &Waker,
    wanted: &Arc<Wanted>,
) -> End {
    let end = follow(link, desk, shared, waker, wanted).err().unwrap_or(End::Stopped);
    // What was written is worth to be kept, whatever ended it.
    let is_sound = !matches!(end, End::Refused(_));
    let last = if is_sound { desk.commit_all() } else { desk.wait().map(|()| 0) };
    match (&end, last) {
        (End::Stopped, Ok(count)) if count > 0 => {
            _ = link.send(&Frame::Settled(count));
            farewell(link);
        }
        (_, Err(why)) => return End::Refused(why),
        _ => {}
    }
    end
}

/// Says why, as far as that is still heard.
pub(super) fn refuse(link: &mut Link, why: &str) {
    let mut end = why.len().min(crate::wire::TEXT_BYTES_MAX);
    while !why.is_char_boundary(end) {
        end -= 1;
    }
    if link.send(&Frame::Refused(&why[..end])).is_ok() {
        farewell(link);
    }
}

/// Lets the last words out, and hears the other side out until it closes: with
/// something unread, the connection would be reset and they be lost.
fn farewell(link: &mut Link) {
    let until = Instant::now() + FAREWELL_TIMEOUT;
    while Instant::now() < until && link.flush().is_ok() {
        if !link.has_waiting() {
            link.close();
        }
        match link.skip() {
            Ok(true) => {}
            Ok(false) if link.wait(true, until, None).is_ok() => {}
            _ => return,
        }
    }
}

fn follow(
    link: &mut Link,
    desk: &mut Desk,
    shared: &Shared,
    waker: &Waker,
    wanted: &Arc<Wanted>,
) -> Result<(), End> {
    let mut said = Instant::now();
    loop {
        if shared.is_stopping() {
            return Err(End::Stopped);
        }
        if let Some(count) = desk.has_committed().map_err(End::Refused)? {
            link.send(&Frame::Settled(count))?;
            said = Instant::now();
        }
        let (is_drained, is_asked) = take(link, desk)?;
        if is_drained || desk.unsynced() >= GROUP_BYTES {
            desk.begin_commit();
        }
        let is_due =
            (desk.is_committing() || !is_drained) && said.elapsed() >= ALIVE_EVERY;
        if is_asked || is_due || wanted.0.swap(false, SeqCst) {
            link.send(&Frame::Alive)?;
            said = Instant::now();
        }
        link.flush()?;
        let has_room = desk.unsynced() < UNSYNCED_BYTES_MAX;
        if is_drained || !has_room {
            if link.is_amid_frame() && link.heard().elapsed() >= FRAME_TIMEOUT {
                return Err(End::Refused(format!(
                    "a frame that began was not whole after {FRAME_TIMEOUT:?}"
                )));
            }
            let pause = if desk.is_committing() { ALIVE_EVERY } else { LOOK_EVERY };
            let until = Instant::now() + pause;
            link.wait(has_room, until, Some(waker.as_fd()))?;
            waker.rest();
        }
    }
}

/// Takes what has come, for a while: files that are opened and committed take their
/// time. Returns whether that was all, and whether somebody asked if we are there.
fn take(link: &mut Link, desk: &mut Desk) -> Result<(bool, bool), End> {
    let mut is_asked = false;
    let since = Instant::now();
    for _ in 0..READS_MAX {
        while desk.unsynced() < UNSYNCED_BYTES_MAX {
            let Some(frame) = link.take()? else { break };
            if let Frame::Refused(why) = frame {
                return Err(End::Left(printable(why)));
            }
            is_asked |= frame == Frame::Ping;
            if !desk.take(&frame).map_err(End::Refused)? {
                return Err(End::Refused(
                    "it sent what only a receiver sends".to_owned(),
                ));
            }
            if since.elapsed() >= ALIVE_EVERY {
                return Ok((false, is_asked));
            }
        }
        if desk.unsynced() >= UNSYNCED_BYTES_MAX {
            return Ok((false, is_asked));
        }
        if !link.read()? {
            return Ok((true, is_asked));
        }
        if desk.unsynced() >= GROUP_BYTES && !desk.is_committing() {
            return Ok((false, is_asked));
        }
    }
    Ok((false, is_asked))
}
