//! What a session does while a part of a packet cannot be sent.

use super::*;
use crate::ssh::Way;
use crate::ssh::testing::{Access, Host, Plan, log_of};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_send_buffer_size};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};

/// Nothing that works takes so long.
const PATIENCE: Duration = Duration::from_secs(60);
/// More than the sockets hold, but no more than the exchange takes and a host lets come
/// for a command that reads nothing.
const INPUT_BYTES: usize = 250_000;

/// Stands between us and the host. While it is closed nothing gets there, and what comes
/// back does.
struct Gate {
    listener: TcpListener,
    is_closed: Mutex<bool>,
    opened: Condvar,
    /// So many bytes came back.
    back: AtomicU64,
}

impl Gate {
    fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        // Those that it accepts have it from it.
        set_socket_recv_buffer_size(&listener, 32 * 1024).unwrap();
        let (is_closed, opened, back) = Default::default();
        Self { listener, is_closed, opened, back }
    }

    fn close(&self) {
        *self.is_closed.lock().unwrap() = true;
    }

    fn open(&self) {
        *self.is_closed.lock().unwrap() = false;
        self.opened.notify_all();
    }

    /// Passes on one connection, until it is ended.
    fn pass_on(&self, host: SocketAddr) {
        let (near, _) = self.listener.accept().unwrap();
        let far = TcpStream::connect(host).unwrap();
        near.set_nodelay(true).unwrap();
        far.set_nodelay(true).unwrap();
        let is_open = || {
            let is_closed = self.is_closed.lock().unwrap();
            drop(self.opened.wait_while(is_closed, |it| *it).unwrap());
        };
        let came_back = |count| _ = self.back.fetch_add(count, Ordering::SeqCst);
        thread::scope(|scope| {
            scope.spawn(|| pump(&near, &far, is_open, |_| {}));
            pump(&far, &near, || {}, came_back);
        });
    }
}

/// Copies until either side ends.
fn pump(
    mut from: &TcpStream,
    mut to: &TcpStream,
    wait: impl Fn(),
    has_passed: impl Fn(u64),
) {
    let mut block = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut block) {
        wait();
        if to.write_all(&block[..count]).is_err() {
            break;
        }
        has_passed(count as u64);
    }
    _ = from.shutdown(Shutdown::Both);
    _ = to.shutdown(Shutdown::Both);
}

/// Waits for it; whether it came.
fn comes(mut what: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + PATIENCE;
    while !what() {
        if Instant::now() > until {
            return false;
        }
        thread::yield_now();
    }
    true
}

fn is_full(stream: &TcpStream) -> bool {
    let mut polled = [PollFd::new(stream, PollFlags::OUT)];
    poll(&mut polled, Some(&Timespec::default())) == Ok(0)
}

fn is_read(stream: &TcpStream) -> bool {
    rustix::io::ioctl_fionread(stream) == Ok(0)
}

/// While the rest of a packet waits to be sent, the command says that it says nothing
/// more, and then the host wants other keys. It gets no answer before the packet is whole,
/// and says nothing else without one.
#[test]
fn what_is_half_sent_at_the_end_of_the_output_is_sent() {
    let directory = tempfile::tempdir().unwrap();
    let mut plan = Plan::new(Access::Commands);
    plan.config = "RekeyLimit 16K\n".to_owned();
    let host = Host::start(directory.path(), &plan).unwrap();
    let gate = Gate::new();
    let address = gate.listener.local_addr().unwrap();
    let settings = host.settings_at(address, Way::Library, "x").unwrap();
    let key = fs::read_to_string(directory.path().join("host.pub")).unwrap();
    let known = format!("[{}]:{} {key}", address.ip(), address.port());
    fs::write(directory.path().join("known_hosts"), known).unwrap();
    let fifo = host.local("go");
    let script = format!(
        "mkfifo {fifo}; echo here; read go <{fifo}; exec >&- 2>&-; \
         head -c 1 >{fifo}.read; exit 3",
        fifo = fifo.display()
    );
    let service = Service::Exec(format!("exec sh -c '{script}'"));
    let exchange = Exchange::new().unwrap();
    let (until, user) = (Instant::now() + PATIENCE, host.user());
    let (step, over) = thread::scope(|scope| {
        scope.spawn(|| gate.pass_on(host.address()));
        let mut established = login::log_in(&settings, user, &service, until).unwrap();
        let stream = established.stream.try_clone().unwrap();
        set_socket_send_buffer_size(&stream, 16 * 1024).unwrap();
        let (exchange, keepalive) = (&exchange, settings.keepalive);
        scope.spawn(move || exchange.end(carry(&mut established, exchange, keepalive)));
        let step = half_send(&gate, exchange, &stream, &fifo);
        gate.open();
        let is_over = comes(|| exchange.over().is_some());
        let over = exchange.over();
        exchange.close();
        _ = stream.shutdown(Shutdown::Both);
        (step.and_then(|()| is_over.then_some(()).ok_or("it hangs")), over)
    });
    assert_eq!(step, Ok(()), "{}", log_of(host.directory()));
    assert!(matches!(over, Some(Over::Ended(Exit::Status(3)))), "{over:?}");
}

/// Until the end of the output is read while a packet is half sent.
fn half_send(
    gate: &Gate,
    exchange: &Exchange,
    stream: &TcpStream,
    fifo: &Path,
) -> Result<(), &'static str> {
    let mut said = Vec::new();
    let begins = comes(|| {
        let mut block = [0; 100];
        let count = exchange.receive(&mut block);
        said.extend_from_slice(&block[..count]);
        said == b"here\n"
    });
    if !begins {
        return Err("the command does not begin");
    }
    gate.close();
    if exchange.send(&[7; INPUT_BYTES]) != INPUT_BYTES {
        return Err("there is no room for the input");
    }
    if !comes(|| is_full(stream)) {
        return Err("the socket takes all of it");
    }
    let back = gate.back.load(Ordering::SeqCst);
    fs::write(fifo, "go\n").map_err(|_| "nobody waits")?;
    if !comes(|| gate.back.load(Ordering::SeqCst) > back && is_read(stream)) {
        return Err("the output does not end");
    }
    Ok(())
}
