use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

fn with(receiver: u64) -> With {
    With { receiver, peer: "web1".to_owned() }
}

#[test]
fn what_is_not_confirmed_is_sent_again() {
    let mut chains = Chains::new();
    let first = chains.next(&with(1), None);
    assert_eq!(chains.next(&with(1), None), first);
    let second = chains.next(&with(1), Some(first));
    assert_ne!(second, first);
    assert_eq!(second.file, first.file);
    let of_a_moment_ago = chains.clone();
    assert_eq!(chains.next(&with(1), Some(first)), second);
    let third = chains.next(&with(1), Some(second));
    let fits = |tie| chains.fits(&with(1), tie);
    assert_eq!(
        [Some(third), Some(second), Some(first), None].map(fits),
        [true, true, false, true]
    );
    assert!(!of_a_moment_ago.fits(&with(1), Some(third)));
}

/// Another receiver, another name there, another file.
#[test]
fn what_knows_nothing_of_us_fits() {
    let mut chains = Chains::new();
    let empty = chains.clone();
    let first = chains.next(&with(1), None);
    let renamed = With { peer: "web2".to_owned(), ..with(1) };
    for other in [with(2), renamed] {
        assert!(chains.fits(&other, None));
        assert!(!chains.fits(&other, Some(first)), "ours, and we know nothing of it");
    }
    assert!(!empty.fits(&with(1), Some(first)), "brought back to the first moment");
    assert!(Chains::new().fits(&with(1), Some(first)), "the file was removed");
    let other = Tie { file: chains.file.wrapping_add(1), number: 7 };
    assert!(chains.fits(&with(1), Some(other)), "not yet committed");
    chains.next(&with(1), Some(first));
    assert!(!chains.fits(&with(1), Some(other)), "two send with one name");
}

#[test]
fn many_receivers_are_forgotten() {
    let mut chains = Chains::new();
    let ties: Vec<_> = (0..2 * CHAINS_MAX as u64)
        .map(|receiver| chains.next(&with(receiver), None))
        .collect();
    assert_eq!(chains.receivers.len(), CHAINS_MAX);
    let fits =
        |receiver: usize| chains.fits(&with(receiver as u64), Some(ties[receiver]));
    assert!(fits(CHAINS_MAX) && !fits(CHAINS_MAX - 1));
}

/// A frame on its way. Lines have numbers; their places are their indexes.
#[derive(Clone, Debug)]
enum Sent {
    Tie(Tie),
    Run { incarnation: u64, at: usize, lines: Vec<u64> },
}

/// What a receiver has on its disk.
#[derive(Clone, Debug, Default)]
struct Held {
    tie: Option<Tie>,
    /// The lines in the places before the one that was reached.
    reached: Option<(u64, Vec<u64>)>,
    lines: Vec<u64>,
}

#[derive(Default)]
struct Receiver {
    disk: Held,
    /// With what was not committed.
    memory: Held,
    taken: u64,
    /// New lines in old places were dropped.
    has_dropped: bool,
}

impl Receiver {
    fn take(&mut self, sent: Sent) {
        self.taken += 1;
        let memory = &mut self.memory;
        match sent {
            Sent::Tie(tie) => {
                if memory.tie.is_none_or(|before| before.file != tie.file) {
                    memory.reached = None;
                }
                memory.tie = Some(tie);
            }
            Sent::Run { incarnation, at, lines } => {
                let mut places = match memory.reached.take() {
                    Some((known, places)) if known == incarnation => places,
                    _ => Vec::new(),
                };
                // What another receiver took meanwhile.
                places.resize(places.len().max(at), 0);
                for (index, line) in lines.into_iter().enumerate() {
                    match places.get(at + index) {
                        Some(0) => {}
                        Some(known) => self.has_dropped |= *known != line,
                        None => {
                            places.push(line);
                            memory.lines.push(line);
                        }
                    }
                }
                memory.reached = Some((incarnation, places));
            }
        }
    }
}

/// What a sender has on its disk, with its log.
#[derive(Clone)]
struct Disk {
    chains: Option<(Chains, u64)>,
    cursor: usize,
    log: Vec<u64>,
}

/// A connection.
struct Wire {
    to: usize,
    on_its_way: VecDeque<Sent>,
    confirmed: u64,
    has: Option<Tie>,
    tied: Option<(Tie, u64)>,
    sent: u64,
    /// Behind so many frames, so many lines.
    runs: VecDeque<(u64, usize)>,
}

struct Play {
    disk: Disk,
    memory: Option<(Chains, u64)>,
    settled: usize,
    next: usize,
    wire: Option<Wire>,
    receivers: [Receiver; 2],
    line: u64,
    snapshot: Option<Disk>,
    was_brought_back: bool,
    /// Lines of the last number may be taken for others: they are not told apart.
    is_blind: bool,
    refused: u32,
}

impl Play {
    fn new() -> Self {
        Self {
            disk: Disk { chains: None, cursor: 0, log: Vec::new() },
            memory: None,
            settled: 0,
            next: 0,
            wire: None,
            receivers: Default::default(),
            line: 0,
            snapshot: None,
            was_brought_back: false,
            is_blind: false,
            refused: 0,
        }
    }

    fn append(&mut self, count: usize) {
        for _ in 0..count {
            self.line += 1;
            self.disk.log.push(self.line);
        }
    }

    /// The sender dies; of what is on its way, so many frames arrive.
    fn kill_sender(&mut self, arrives: usize) {
        self.cut(arrives);
        self.memory = None;
    }

    /// Nothing is confirmed any more.
    fn cut(&mut self, arrives: usize) {
        let Some(wire) = self.wire.take() else { return };
        let receiver = &mut self.receivers[wire.to];
        for sent in wire.on_its_way.into_iter().take(arrives) {
            receiver.take(sent);
        }
        // As at the end of every connection.
        receiver.disk = receiver.memory.clone();
        self.next = self.settled;
    }

    fn kill_receiver(&mut self, which: usize) {
        let receiver = &mut self.receivers[which];
        receiver.memory = receiver.disk.clone();
        if self.wire.as_ref().is_some_and(|wire| wire.to == which) {
            self.wire = None;
            self.next = self.settled;
        }
    }

    fn connect(&mut self, to: usize) -> bool {
        if self.memory.is_none() {
            let made = || (Chains::new(), draw());
            self.memory = Some(self.disk.chains.get_or_insert_with(made).clone());
            self.settled = self.disk.cursor;
        }
        self.cut(0);
        self.next = self.settled;
        let Some((chains, _)) = &self.memory else { return false };
        let has = self.receivers[to].disk.tie;
        if !chains.fits(&with(to as u64), has) {
            return false;
        }
        self.receivers[to].taken = 0;
        self.wire = Some(Wire {
            to,
            on_its_way: VecDeque::new(),
            confirmed: 0,
            has,
            tied: None,
            sent: 0,
            runs: VecDeque::new(),
        });
        true
    }

    /// Sends lines, with another tie when it is time. `dies` is a moment to die at.
    fn send(&mut self, count: usize, is_time: bool, dies: usize) {
        let Some((wire, (chains, incarnation))) =
            self.wire.as_mut().zip(self.memory.as_mut())
        else {
            return;
        };
        let wants = wire.tied.is_none_or(|(_, at)| is_time && wire.confirmed >= at);
        if wants {
            let has = match wire.tied {
                Some((tie, _)) => Some(tie),
                None => wire.has,
            };
            let tie = chains.next(&with(wire.to as u64), has);
            if dies == 1 {
                return self.kill_sender(usize::MAX);
            }
            self.disk.chains = Some((chains.clone(), *incarnation));
            if dies == 2 {
                return self.kill_sender(usize::MAX);
            }
            wire.sent += 1;
            wire.tied = Some((tie, wire.sent));
            wire.on_its_way.push_back(Sent::Tie(tie));
        }
        let end = (self.next + count).min(self.disk.log.len());
        let lines = self.disk.log[self.next.min(end)..end].to_vec();
        wire.sent += 1;
        wire.runs.push_back((wire.sent, end));
        let (incarnation, at) = (*incarnation, self.next);
        wire.on_its_way.push_back(Sent::Run { incarnation, at, lines });
        self.next = self.next.max(end);
    }

    fn receive(&mut self, count: usize, commits: bool) {
        let Some(wire) = self.wire.as_mut() else { return };
        let receiver = &mut self.receivers[wire.to];
        for _ in 0..count {
            let Some(sent) = wire.on_its_way.pop_front() else { break };
            receiver.take(sent);
        }
        if commits {
            receiver.disk = receiver.memory.clone();
        }
    }

    /// The sender hears what was committed.
    fn hear(&mut self, is_stored: bool) {
        let Some(wire) = self.wire.as_mut() else { return };
        let receiver = &mut self.receivers[wire.to];
        receiver.disk = receiver.memory.clone();
        wire.confirmed = receiver.taken;
        while let Some((count, end)) = wire.runs.front()
            && *count <= wire.confirmed
        {
            self.settled = self.settled.max(*end);
            wire.runs.pop_front();
        }
        if is_stored {
            self.disk.cursor = self.settled;
        }
    }

    fn bring_back(&mut self) {
        let Some(snapshot) = self.snapshot.clone() else { return };
        self.kill_sender(usize::MAX);
        // The numbers of the snapshot: what was sent under the last is not told apart.
        for (index, receiver) in self.receivers.iter().enumerate() {
            let now = snapshot.chains.as_ref().and_then(|(chains, _)| {
                let of = with(index as u64);
                let chain = chains.receivers.iter().find(|chain| chain.with == of)?;
                Some(Tie { file: chains.file, number: chain.now })
            });
            self.is_blind |= now.is_some() && receiver.disk.tie == now;
        }
        self.disk = snapshot;
        self.was_brought_back = true;
    }

    /// What a person does who was told to, or who was not.
    fn remove_file(&mut self) {
        self.kill_sender(0);
        self.disk.chains = None;
    }

    /// Who is refused does what the sentence says.
    fn begin(&mut self, to: usize) {
        if self.connect(to) {
            return;
        }
        assert!(self.was_brought_back, "refused, and nothing was brought back");
        self.refused += 1;
        self.remove_file();
        assert!(self.connect(to), "refused again");
    }

    fn step(&mut self, (kind, a, b): (u8, usize, usize), with_snapshots: bool) {
        match kind {
            0 | 1 => self.append(1 + a % 3),
            2 | 3 => self.begin(a % 2),
            4..=7 => self.send(1 + a % 3, b % 2 == 0, 0),
            8 => self.send(1 + a % 3, true, 1 + b % 2),
            9..=11 => self.receive(1 + a % 4, b % 2 == 0),
            12..=14 => self.hear(a % 2 == 0),
            15 => self.kill_sender(a % 4),
            16 => self.kill_receiver(a % 2),
            17 => self.cut(a % 4),
            18 if with_snapshots => self.snapshot = Some(self.disk.clone()),
            19 if with_snapshots => self.bring_back(),
            19 => self.remove_file(),
            _ => {}
        }
        for receiver in &self.receivers {
            assert!(
                self.is_blind || !receiver.has_dropped,
                "new lines in old places were dropped"
            );
        }
    }

    /// Everything of the log is somewhere, in the end.
    fn finish(mut self) {
        for _ in 0..3 {
            self.begin(0);
            self.send(usize::MAX / 2, true, 0);
            self.receive(usize::MAX, true);
            self.hear(true);
        }
        assert_eq!(self.settled, self.disk.log.len());
        let is_there = |line: &u64| {
            self.receivers.iter().any(|receiver| receiver.disk.lines.contains(line))
        };
        assert!(self.is_blind || self.disk.log.iter().all(is_there));
    }
}

fn steps() -> impl Strategy<Value = Vec<(u8, usize, usize)>> {
    proptest::collection::vec((0_u8..20, 0_usize..12, 0_usize..12), 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whoever is killed, cut, not heard, or loses the file whenever: nobody is refused.
    #[test]
    fn who_was_killed_is_let_in(steps in steps()) {
        let mut play = Play::new();
        steps.into_iter().for_each(|step| play.step(step, false));
        assert_eq!(play.refused, 0);
        play.finish();
    }

    /// Who was brought back is refused, or nothing of it is dropped.
    #[test]
    fn who_was_brought_back_loses_nothing(steps in steps()) {
        let mut play = Play::new();
        steps.into_iter().for_each(|step| play.step(step, true));
        play.finish();
    }
}
