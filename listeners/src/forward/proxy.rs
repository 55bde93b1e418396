//! A network that fails after so many bytes, for tests.

use rustix::net::sockopt;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// Passes connections on to a receiver. The first one is reset, on both sides,
/// when it has passed so many bytes on to the receiver.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    passed: Arc<AtomicUsize>,
    has_cut: Arc<AtomicBool>,
    stops: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    pub(super) fn start(to: SocketAddr, cut: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (passed, stops) =
            (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let has_cut = Arc::<AtomicBool>::default();
        let (counted, stopped) = (Arc::clone(&passed), Arc::clone(&stops));
        let told = Arc::clone(&has_cut);
        let thread = Builder::new().name("proxy".into()).spawn(move || {
            let mut cut = cut;
            while let Ok((stream, _)) = listener.accept() {
                if stopped.load(SeqCst) {
                    break;
                }
                if pass(&stream, to, cut, &counted) {
                    drop(stream);
                    told.store(true, SeqCst);
                }
                cut = usize::MAX;
            }
        });
        Self { address, passed, has_cut, stops, thread: Some(thread.unwrap()) }
    }

    /// Whether the connection was reset.
    pub(super) fn has_cut(&self) -> bool {
        self.has_cut.load(SeqCst)
    }

    /// How many bytes the receiver was passed.
    pub(super) fn passed(&self) -> usize {
        self.passed.load(SeqCst)
    }
}

/// Until one side is over; returns whether that was the cut.
fn pass(from: &TcpStream, to: SocketAddr, cut: usize, passed: &AtomicUsize) -> bool {
    let onward = TcpStream::connect(to).unwrap();
    std::thread::scope(|scope| {
        let back = || {
            _ = std::io::copy(&mut &onward, &mut &*from);
            _ = from.shutdown(std::net::Shutdown::Write);
        };
        Builder::new().name("back".into()).spawn_scoped(scope, back).unwrap();
        let copied = copy(from, &onward, cut);
        passed.fetch_add(copied, SeqCst);
        if copied == cut {
            for stream in [from, &onward] {
                sockopt::set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
                _ = stream.shutdown(std::net::Shutdown::Read);
            }
        } else {
            _ = onward.shutdown(std::net::Shutdown::Write);
        }
        copied == cut
    })
}

fn copy(mut from: &TcpStream, mut to: &TcpStream, count_max: usize) -> usize {
    let mut count = 0;
    let mut block = [0; 4096];
    while count < count_max {
        let room = block.len().min(count_max - count);
        match from.read(&mut block[..room]) {
            Ok(read @ 1..) if to.write_all(&block[..read]).is_ok() => count += read,
            _ => break,
        }
    }
    count
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stops.store(true, SeqCst);
        drop(TcpStream::connect(self.address));
        _ = self.thread.take().map(JoinHandle::join);
    }
}
