//! What stands between us and the host, and cuts.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// When the connection ends, in bytes that went by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    Never,
    /// From us to the host.
    There(u64),
    /// From the host to us.
    Back(u64),
    /// After so many to us nothing moves any more, and nothing ends.
    Stall(u64),
}

/// Takes connections on loopback, until it is dropped.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    pub(super) there: Arc<AtomicU64>,
    pub(super) back: Arc<AtomicU64>,
    stops: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    pub(super) fn start(host: SocketAddr, cut: Cut) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let there = Arc::<AtomicU64>::default();
        let back = Arc::<AtomicU64>::default();
        let stops = Arc::<AtomicBool>::default();
        let streams = Arc::<Mutex<Vec<TcpStream>>>::default();
        let (limit_there, limit_back, stalls) = match cut {
            Cut::Never => (u64::MAX, u64::MAX, false),
            Cut::There(bytes) => (bytes, u64::MAX, false),
            Cut::Back(bytes) => (u64::MAX, bytes, false),
            Cut::Stall(bytes) => (u64::MAX, bytes, true),
        };
        let (counts, ends) =
            ((Arc::clone(&there), Arc::clone(&back)), Arc::clone(&stops));
        let kept = Arc::clone(&streams);
        let serve = move || {
            let mut pumps = Vec::new();
            while let Ok((near, _)) = listener.accept() {
                if ends.load(Ordering::Relaxed) {
                    break;
                }
                let far = TcpStream::connect(host).unwrap();
                for stream in [&near, &far] {
                    stream.set_nodelay(true).unwrap();
                    kept.lock().unwrap().push(stream.try_clone().unwrap());
                }
                let (near2, far2) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let (up, down) = (Arc::clone(&counts.0), Arc::clone(&counts.1));
                let up = move || pump(near, far, &up, limit_there, false);
                let down = move || pump(far2, near2, &down, limit_back, stalls);
                pumps
                    .push(thread::Builder::new().name("there".into()).spawn(up).unwrap());
                pumps.push(
                    thread::Builder::new().name("back".into()).spawn(down).unwrap(),
                );
            }
            for pump in pumps {
                pump.join().unwrap();
            }
        };
        let thread = thread::Builder::new().name("proxy".into()).spawn(serve).unwrap();
        Self { address, there, back, stops, streams, thread: Some(thread) }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address));
        for stream in self.streams.lock().unwrap().iter() {
            _ = stream.shutdown(Shutdown::Both);
        }
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Copies up to a limit, then cuts both ways, or holds its breath.
fn pump(
    mut from: TcpStream,
    mut to: TcpStream,
    count: &AtomicU64,
    limit: u64,
    stalls: bool,
) {
    let mut block = [0; 16 * 1024];
    let mut left = limit;
    while left > 0 {
        let most = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let Ok(read @ 1..) = from.read(&mut block[..most]) else { break };
        if to.write_all(&block[..read]).is_err() {
            break;
        }
        count.fetch_add(read as u64, Ordering::Relaxed);
        left -= read as u64;
    }
    if left == 0 && stalls {
        return;
    }
    _ = from.shutdown(Shutdown::Both);
    _ = to.shutdown(Shutdown::Both);
}
