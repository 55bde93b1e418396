//! All connections: who comes in, and that nobody is in twice.

use super::commit::{Committer, Waker, lock};
use super::desk::Desk;
use super::session::{self, End, Wanted};
use super::store::Store;
use super::trust::{self, Stranger};
use super::{Say, Settings, files};
use crate::link::{Link, LinkError};
use crate::wire::{Frame, VERSION};
use rustix::event::{PollFd, PollFlags, poll};
use rustls::Connection;
use std::collections::BTreeMap;
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// So long a new connection waits for the end of an older one of the same stream.
const PREDECESSOR_TIMEOUT: Duration = Duration::from_secs(10);
/// Who could not prove who it is may try again after so long.
const STRANGER_PAUSE: Duration = Duration::from_secs(1);
/// So many addresses of strangers are kept in mind.
const STRANGERS_MAX: usize = 1024;
/// What strangers did is told so often in [`TELLS_WITHIN`], and no oftener.
const TELLS_MAX: u32 = 20;
const TELLS_WITHIN: Duration = Duration::from_secs(10);
/// So many connections may be there that have not proved who they are, which takes
/// them a moment; and so many from one address. For a new one the oldest has to go.
const EARLY_MAX: usize = 64;
const EARLY_OF_ADDRESS_MAX: usize = 8;
/// So many may be of one peer.
const OF_PEER_MAX: usize = 32;
/// What was sent may stay so long without an acknowledgement of the other system.
const USER_TIMEOUT: Duration = Duration::from_secs(30);
/// After an error of the system in taking a connection, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A receiver at work.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What all connections share.
pub(super) struct Shared {
    settings: Settings,
    say: Arc<Say>,
    committer: Arc<Committer>,
    is_stopping: AtomicBool,
    /// Wakes the thread that takes connections.
    pub(super) stop: Waker,
    slots: Mutex<BTreeMap<(String, String), Slot>>,
    is_free: Condvar,
    /// How many connections of each peer were let in.
    entered: Mutex<BTreeMap<String, usize>>,
    /// Those that were not let in yet.
    early: Mutex<BTreeMap<u64, (SocketAddr, TcpStream)>>,
    strangers: Mutex<Strangers>,
}

/// The connection of a stream.
struct Slot {
    waker: Waker,
    wanted: Arc<Wanted>,
}

#[derive(Default)]
struct Strangers {
    came: BTreeMap<IpAddr, Instant>,
    told: Option<(Instant, u32)>,
}

impl Shared {
    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(SeqCst)
    }

    /// Whether somebody at this address failed a moment ago.
    fn is_stranger(&self, address: IpAddr) -> bool {
        let strangers = lock(&self.strangers);
        strangers.came.get(&address).is_some_and(|time| time.elapsed() < STRANGER_PAUSE)
    }

    /// Remembers it, and tells of it.
    fn tell_stranger(&self, address: SocketAddr, why: &str) {
        let mut strangers = lock(&self.strangers);
        strangers.came.retain(|_, time| time.elapsed() < STRANGER_PAUSE);
        if strangers.came.len() < STRANGERS_MAX {
            strangers.came.insert(address.ip(), Instant::now());
        }
        drop(strangers);
        self.tell(address, why);
    }

    /// Tells that somebody was not let in, unless that was told too often.
    fn tell(&self, address: SocketAddr, why: &str) {
        let mut strangers = lock(&self.strangers);
        let (since, count) = match strangers.told {
            Some((since, count)) if since.elapsed() < TELLS_WITHIN => (since, count + 1),
            _ => (Instant::now(), 1),
        };
        strangers.told = Some((since, count));
        drop(strangers);
        if count <= TELLS_MAX {
            (self.say)(&format!("{address} was not let in: {why}"));
        }
    }
}

impl Server {
    /// Begins to listen; nothing is written before somebody sends something.
    ///
    /// # Errors
    ///
    /// In words.
    pub fn start(
        settings: Settings,
        say: impl Fn(&str) + Send + Sync + 'static,
    ) -> Result<Self, String> {
        if let Some(objection) = settings.objection() {
            return Err(objection);
        }
        let failed =
            |what: &str, error: &dyn std::fmt::Display| format!("cannot {what}: {error}");
        for folder in [&settings.to, &settings.state] {
            files::make_folder(folder)
                .map_err(|error| failed(&format!("make {}", folder.display()), &error))?;
        }
        let store = Store::open(&settings.state)?;
        let listener = TcpListener::bind(settings.listen)
            .map_err(|error| failed(&format!("listen at {}", settings.listen), &error))?;
        let start = |error: std::io::Error| failed("start", &error);
        listener.set_nonblocking(true).map_err(start)?;
        let address = listener.local_addr().map_err(start)?;
        let shared = Arc::new(Shared {
            settings,
            say: Arc::new(say),
            committer: Arc::new(Committer::start(store).map_err(start)?),
            is_stopping: AtomicBool::new(false),
            stop: Waker::new().map_err(start)?,
            slots: Mutex::default(),
            is_free: Condvar::new(),
            entered: Mutex::default(),
            early: Mutex::default(),
            strangers: Mutex::default(),
        });
        let taken = Arc::clone(&shared);
        let accept = Builder::new().name("accept".into());
        let thread =
            accept.spawn(move || accept_all(&listener, &taken)).map_err(start)?;
        Ok(Self { address, shared, thread: Some(thread) })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes nothing more, commits what came, tells the senders and ends.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.shared.is_stopping.store(true, SeqCst);
        self.shared.stop.wake();
        for slot in lock(&self.shared.slots).values() {
            slot.waker.wake();
        }
        self.shared.is_free.notify_all();
        // Who has not said who he is need not be waited for.
        for (_, stream) in lock(&self.shared.early).values() {
            _ = stream.shutdown(Shutdown::Both);
        }
        // It waits for all connections.
        _ = self.thread.take().map(JoinHandle::join);
        self.shared.committer.stop();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

fn accept_all(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    while !shared.is_stopping() {
        let mut polled = [
            PollFd::new(listener, PollFlags::IN),
            PollFd::from_borrowed_fd(shared.stop.as_fd(), PollFlags::IN),
        ];
        _ = poll(&mut polled, None);
        threads.retain(|thread| !thread.is_finished());
        match listener.accept() {
            Ok((stream, address)) => threads.extend(admit(stream, address, shared)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => std::thread::sleep(ACCEPT_PAUSE),
        }
    }
    for thread in threads {
        _ = thread.join();
    }
}

/// Gives a connection a thread, unless it failed to prove who it is a moment ago.
fn admit(
    stream: TcpStream,
    address: SocketAddr,
    shared: &Arc<Shared>,
) -> Option<JoinHandle<()>> {
    if shared.is_stranger(address.ip()) {
        return None;
    }
    let copy = stream.try_clone().ok()?;
    let early = Early::count(address, copy, shared);
    let connection = Builder::new().name("connection".into());
    connection.spawn(move || receive(stream, &early)).ok()
}

/// A connection that was not let in, as long as this is kept.
struct Early {
    number: u64,
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Early {
    /// Nobody who can prove it is kept out by those that say nothing: the oldest
    /// makes room, of the same address if that has too many.
    fn count(address: SocketAddr, stream: TcpStream, shared: &Arc<Shared>) -> Self {
        let mut early = lock(&shared.early);
        let of_address =
            early.iter().filter(|(_, (it, _))| it.ip() == address.ip()).map(|it| *it.0);
        let of_address: Vec<u64> = of_address.collect();
        let oldest = if of_address.len() >= EARLY_OF_ADDRESS_MAX {
            of_address.first().copied()
        } else if early.len() >= EARLY_MAX {
            early.keys().next().copied()
        } else {
            None
        };
        if let Some((_, stream)) = oldest.and_then(|oldest| early.remove(&oldest)) {
            _ = stream.shutdown(Shutdown::Both);
        }
        let number = early.keys().next_back().map_or(0, |last| last + 1);
        early.insert(number, (address, stream));
        drop(early);
        Self { number, address, shared: Arc::clone(shared) }
    }

    /// Whether it had to go.
    fn made_room(&self) -> bool {
        let early = lock(&self.shared.early);
        early.get(&self.number).is_none_or(|(address, _)| *address != self.address)
    }

    fn end(&self) {
        if !self.made_room() {
            lock(&self.shared.early).remove(&self.number);
        }
    }
}

impl Drop for Early {
    fn drop(&mut self) {
        self.end();
    }
}

/// A connection of a peer, as long as this is kept.
struct Entered {
    peer: String,
    shared: Arc<Shared>,
}

impl Entered {
    /// Counts it, unless there are too many.
    fn count(peer: &str, shared: &Arc<Shared>) -> Result<Self, String> {
        let mut entered = lock(&shared.entered);
        let (all, max) = (entered.values().sum::<usize>(), &shared.settings);
        let of_peer = entered.get(peer).copied().unwrap_or_default();
        if all >= max.connections_max {
            return Err(format!(
                "the receiver has {all} connections: raise its `connections_max`"
            ));
        }
        if of_peer >= OF_PEER_MAX {
            return Err(format!("there are {of_peer} connections of {peer}"));
        }
        entered.insert(peer.to_owned(), of_peer + 1);
        drop(entered);
        Ok(Self { peer: peer.to_owned(), shared: Arc::clone(shared) })
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut entered = lock(&self.shared.entered);
        if let Some(count) = entered.get_mut(&self.peer) {
            *count -= 1;
        }
        entered.retain(|_, count| *count > 0);
    }
}

/// A connection, from its greeting to its end.
fn receive(stream: TcpStream, early: &Early) {
    let (address, shared) = (early.address, Arc::clone(&early.shared));
    // Accepted ones need not have what their listener has.
    if stream.set_nonblocking(false).is_err() || shared.is_stopping() {
        return;
    }
    match trust::recognise(&stream, &shared.settings) {
        Ok((peer, tls)) => {
            if let Err(why) = converse(stream, tls, &peer, early) {
                (shared.say)(&format!("{peer} ({address}): {why}"));
            }
        }
        Err(Stranger { why, told }) => {
            if early.made_room() {
                shared.tell(address, "it said nothing, and others came");
                return;
            }
            shared.tell_stranger(address, &why);
            if let Some(told) = told
                && let Ok(mut link) = Link::new(stream, None, USER_TIMEOUT)
            {
                session::refuse(&mut link, &told);
            }
        }
    }
}

/// With a peer that is who it says.
fn converse(
    stream: TcpStream,
    tls: Option<Connection>,
    peer: &str,
    early: &Early,
) -> Result<(), String> {
    let shared = &early.shared;
    let mut link =
        Link::new(stream, tls, USER_TIMEOUT).map_err(|error| error.to_string())?;
    let _entered = Entered::count(peer, shared)
        .inspect_err(|why| session::refuse(&mut link, why))?;
    early.end();
    let end = match session::hear_hello(&mut link, shared) {
        Ok(stream) => enter(&mut link, peer, &stream, shared),
        Err(end) => end,
    };
    match end {
        End::Link(LinkError::Closed) | End::Stopped => Ok(()),
        End::Link(error) => Err(error.to_string()),
        End::Left(why) => Err(format!("it says: {why}")),
        End::Refused(why) => {
            session::refuse(&mut link, &why);
            Err(why)
        }
    }
}

/// Takes its place, and serves it.
fn enter(link: &mut Link, peer: &str, stream: &str, shared: &Arc<Shared>) -> End {
    let Ok(waker) = Waker::new() else {
        return End::Refused("the receiver has too many files open".to_owned());
    };
    let wanted = Arc::<Wanted>::default();
    let slot = Slot { waker: waker.clone(), wanted: Arc::clone(&wanted) };
    let Some(_place) = take_place(peer, stream, slot, shared) else {
        return End::Refused(format!(
            "another connection of {peer} sends {stream} at the moment. If that is an older \
             one of the same, it is over within half a minute; if two forward under the same \
             name, give one of them another `peer`"
        ));
    };
    // Nobody else writes for this stream from here on.
    let store = shared.committer.store();
    let (receiver, tie) = (store.number(), store.tie(peer, stream));
    drop(store);
    let welcome = match tie {
        Ok(tie) => Frame::Welcome { version: VERSION, receiver, tie },
        Err(why) => return End::Refused(why),
    };
    if let Err(error) = link.send(&welcome) {
        return End::Link(error);
    }
    let to = shared.settings.to.clone();
    let (committer, say) = (Arc::clone(&shared.committer), Arc::clone(&shared.say));
    let mut desk = Desk::new(committer, waker.clone(), say, to, peer, stream);
    session::serve(link, &mut desk, shared, &waker, &wanted)
}

/// The place of a stream, as long as this is kept.
struct Place {
    key: (String, String),
    shared: Arc<Shared>,
}

/// Waits for the end of an older connection, for a while.
fn take_place(
    peer: &str,
    stream: &str,
    slot: Slot,
    shared: &Arc<Shared>,
) -> Option<Place> {
    let key = (peer.to_owned(), stream.to_owned());
    let until = Instant::now() + PREDECESSOR_TIMEOUT;
    let mut slots = lock(&shared.slots);
    while let Some(older) = slots.get(&key) {
        // If nobody is there any more, it notices when it says something.
        older.wanted.ask();
        older.waker.wake();
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || shared.is_stopping() {
            return None;
        }
        slots = shared
            .is_free
            .wait_timeout(slots, left)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
    slots.insert(key.clone(), slot);
    Some(Place { key, shared: Arc::clone(shared) })
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.shared.slots).remove(&self.key);
        self.shared.is_free.notify_all();
    }
}
